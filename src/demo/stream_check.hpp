#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <pgcascade/change.hpp>

#include "demo/ledger.hpp"
#include "demo/table_contents.hpp"

namespace pgcascade::demo {

// Takes every change of a stream and tells in the end whether it held every committed row change exactly
// once, by two independent truths: what the workload counted when it committed, transaction for transaction,
// and what the tables hold, row for row, once the changes are applied to empty ones. One thread at a time.
class StreamCheck {
  public:
    // In the order in which the stream hands them out, from its begin on.
    void take(const Change& change);

    std::uint64_t row_changes() const { return row_changes_; }  // whole transactions only
    std::uint64_t transactions() const { return transactions_.size(); }

    // What is wrong, in words; nothing: all is as it should be. Long lists are cut.
    std::vector<std::string> differences(const Ledger& committed, const Contents& on_primary) const;

  private:
    void begin(const Change& change);
    void commit(const Change& change);
    void check_identity(const Change& change);
    void apply(const Change& change);
    void apply_update(const Change& change, TableRows& rows);
    void complain(const Change& change, const std::string& what);

    Ledger transactions_;
    std::uint64_t row_changes_ = 0;
    Contents rebuilt_;
    std::vector<std::string> complaints_;  // of the stream by itself
    std::uint64_t more_complaints_ = 0;

    TransactionCounts open_;  // the transaction between its begin and its commit
    Lsn last_commit_;
    std::uint64_t last_ordinal_ = 0;
    bool is_open_ = false;
};

}  // namespace pgcascade::demo
