#pragma once

#include <cstdint>
#include <map>
#include <string>

// What the demo's workload has committed, as the primary itself acknowledged it (command tags). It is the
// truth that the stream is held against, so nothing that was ever decoded goes into it.

namespace pgcascade::demo {

struct RowCounts {
    std::uint64_t inserted = 0;
    std::uint64_t updated = 0;
    std::uint64_t deleted = 0;

    bool operator==(const RowCounts&) const = default;
    std::uint64_t total() const { return inserted + updated + deleted; }
};

// By table. A table that the transaction left alone is not in it.
using TransactionCounts = std::map<std::string, RowCounts>;

std::uint64_t total(const TransactionCounts& counts);

// "customers +3 ~1 -0, orders +1 ~0 -0"
std::string to_string(const TransactionCounts& counts);

// By transaction id, as the stream has it (without the epoch).
using Ledger = std::map<std::uint32_t, TransactionCounts>;

}  // namespace pgcascade::demo
