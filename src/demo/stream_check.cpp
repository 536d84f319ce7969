#include "demo/stream_check.hpp"

#include <algorithm>
#include <iterator>

#include <fmt/format.h>

namespace pgcascade::demo {

namespace {

constexpr std::size_t kListed = 10;

// Keeps the differences of one kind short enough to be read.
class Differences {
  public:
    void add(std::string text) {
        if (list_.size() < kListed)
            list_.push_back(std::move(text));
        else
            ++more_;
    }
    void add_more(std::uint64_t count) { more_ += count; }

    void move_to(std::vector<std::string>& all) {
        if (more_ > 0) list_.push_back(fmt::format("… and {} more like these", more_));
        std::move(list_.begin(), list_.end(), std::back_inserter(all));
    }

  private:
    std::vector<std::string> list_;
    std::uint64_t more_ = 0;
};

RowText key_of(const Row& row) {
    RowText key;
    const auto& columns = row.relation().columns;
    for (std::size_t i = 0; i < columns.size(); ++i)
        if (columns[i].is_key) key.emplace_back(row[i].text());
    return key;
}

std::string to_string(const RowText& values) {
    std::string text;
    for (const auto& value : values) text += (text.empty() ? "" : ", ") + value.value_or("null");
    return "(" + (text.size() <= 80 ? text : text.substr(0, 77) + "…") + ")";
}

Differences missing_in_stream(const Ledger& committed, const Ledger& streamed) {
    Differences differences;
    for (const auto& [xid, counts] : committed) {
        const auto found = streamed.find(xid);
        if (found == streamed.end())
            differences.add(
                fmt::format("transaction {} ({}) was committed and not streamed", xid, to_string(counts)));
        else if (found->second != counts)
            differences.add(fmt::format("transaction {} was committed with {}, and streamed with {}", xid,
                                        to_string(counts), to_string(found->second)));
    }
    return differences;
}

Differences unknown_in_stream(const Ledger& committed, const Ledger& streamed) {
    Differences differences;
    for (const auto& [xid, counts] : streamed)
        if (!committed.contains(xid))
            differences.add(fmt::format("transaction {} ({}) was streamed; the workload did not commit it",
                                        xid, to_string(counts)));
    return differences;
}

void compare_rows(const std::string& table, const TableRows& expected, const TableRows& rebuilt,
                  Differences& differences) {
    for (const auto& [key, row] : expected) {
        const auto found = rebuilt.find(key);
        if (found == rebuilt.end())
            differences.add(
                fmt::format("{} {} is on the primary, and not in what was streamed", table, to_string(key)));
        else if (found->second != row)
            differences.add(fmt::format("{} {} is {} on the primary, and {} by what was streamed", table,
                                        to_string(key), to_string(row), to_string(found->second)));
    }
    for (const auto& [key, row] : rebuilt)
        if (!expected.contains(key))
            differences.add(
                fmt::format("{} {} is in what was streamed, and not on the primary", table, to_string(key)));
}

}  // namespace

void StreamCheck::complain(const Change& change, const std::string& what) {
    if (complaints_.size() < kListed)
        complaints_.push_back(fmt::format("transaction {} at {}, change {}: {}", change.xid,
                                          change.commit_lsn.to_string(), change.ordinal, what));
    else
        ++more_complaints_;
}

// Commit LSNs grow from transaction to transaction and ordinals by one within: so no identity comes twice.
void StreamCheck::begin(const Change& change) {
    if (is_open_) complain(change, "begins before the last one was committed");
    if (change.commit_lsn <= last_commit_)
        complain(change, "does not come after " + last_commit_.to_string());
    is_open_ = true;
    last_commit_ = change.commit_lsn;
    last_ordinal_ = 0;
    open_.clear();
}

void StreamCheck::check_identity(const Change& change) {
    if (!is_open_ || change.commit_lsn != last_commit_)
        complain(change, "is outside of its transaction");
    else if (change.ordinal != last_ordinal_ + 1)
        complain(change, fmt::format("comes after change {}", last_ordinal_));
    last_ordinal_ = change.ordinal;
}

void StreamCheck::commit(const Change& change) {
    if (!is_open_ || change.commit_lsn != last_commit_) complain(change, "is committed without its begin");
    is_open_ = false;
    if (open_.empty()) return;  // of tables that nobody counts
    row_changes_ += total(open_);
    if (!transactions_.emplace(change.xid, std::move(open_)).second) complain(change, "was committed before");
    open_.clear();
}

void StreamCheck::apply_update(const Change& change, TableRows& rows) {
    const RowText before = key_of(change.old_kind == OldRow::kNone ? change.new_row : change.old_row);
    const auto old = rows.find(before);
    if (old == rows.end()) {
        complain(change, "updates a row that is not there: " + to_string(before));
        return;
    }
    RowText updated;
    for (std::size_t i = 0; i < change.new_row.size(); ++i) {
        const Value& value = change.new_row[i];
        if (value.is_unchanged())
            updated.push_back(old->second[i]);
        else
            updated.push_back(value.as<std::optional<std::string>>());
    }
    rows.erase(old);
    if (!rows.emplace(key_of(change.new_row), std::move(updated)).second)
        complain(change, "updates a row to a key that is there already");
}

void StreamCheck::apply(const Change& change) {
    TableRows& rows = rebuilt_[change.relation->table];
    RowCounts& counts = open_[change.relation->table];
    switch (change.operation) {
        case Operation::kInsert: {
            ++counts.inserted;
            RowText values;
            for (const Value& value : change.new_row.values())
                values.push_back(value.as<std::optional<std::string>>());
            if (!rows.emplace(key_of(change.new_row), std::move(values)).second)
                complain(change, "inserts a row that is there already: " + to_string(key_of(change.new_row)));
            return;
        }
        case Operation::kUpdate:
            ++counts.updated;
            apply_update(change, rows);
            return;
        default:
            ++counts.deleted;
            if (rows.erase(key_of(change.old_row)) == 0)
                complain(change, "deletes a row that is not there: " + to_string(key_of(change.old_row)));
    }
}

void StreamCheck::take(const Change& change) {
    if (change.operation == Operation::kBegin) {
        begin(change);
    } else if (change.operation == Operation::kCommit) {
        commit(change);
    } else {
        check_identity(change);
        if (change.is_row_change()) apply(change);
        for (const Relation* table : change.truncated) rebuilt_[table->table].clear();
    }
}

std::vector<std::string> StreamCheck::differences(const Ledger& committed, const Contents& on_primary) const {
    Differences of_stream;
    for (const std::string& complaint : complaints_) of_stream.add(complaint);
    of_stream.add_more(more_complaints_);
    if (is_open_) of_stream.add("the stream ended inside the transaction at " + last_commit_.to_string());
    Differences of_rows;
    for (const auto& [table, rows] : on_primary) {
        const auto found = rebuilt_.find(table);
        compare_rows(table, rows, found == rebuilt_.end() ? TableRows{} : found->second, of_rows);
    }
    std::vector<std::string> all;
    of_stream.move_to(all);
    missing_in_stream(committed, transactions_).move_to(all);
    unknown_in_stream(committed, transactions_).move_to(all);
    of_rows.move_to(all);
    return all;
}

}  // namespace pgcascade::demo
