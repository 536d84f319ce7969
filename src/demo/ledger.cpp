#include "demo/ledger.hpp"

#include <fmt/format.h>

namespace pgcascade::demo {

std::uint64_t total(const TransactionCounts& counts) {
    std::uint64_t sum = 0;
    for (const auto& [table, of_table] : counts) sum += of_table.total();
    return sum;
}

std::string to_string(const TransactionCounts& counts) {
    std::string text;
    for (const auto& [table, of_table] : counts)
        text += fmt::format("{}{} +{} ~{} -{}", text.empty() ? "" : ", ", table, of_table.inserted,
                            of_table.updated, of_table.deleted);
    return text.empty() ? "nothing" : text;
}

}  // namespace pgcascade::demo
