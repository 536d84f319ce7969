#include "demo/node_check.hpp"

#include <fmt/format.h>

namespace pgcascade::demo {

std::int64_t total_rows(const Digests& digests) {
    std::int64_t rows = 0;
    for (const auto& [table, digest] : digests) rows += digest.rows;
    return rows;
}

std::vector<std::string> node_differences(const std::vector<NodeDigests>& nodes) {
    std::vector<std::string> differences;
    const NodeDigests& first = nodes.front();
    for (const NodeDigests& other : nodes) {
        for (const auto& [table, expected] : first.digests) {
            const auto found = other.digests.find(table);
            if (found == other.digests.end())
                differences.push_back(fmt::format("{} has no table {}", other.node, table));
            else if (found->second.rows != expected.rows)
                differences.push_back(fmt::format("{} has {} rows in {}, {} has {}", other.node,
                                                  found->second.rows, table, first.node, expected.rows));
            else if (found->second != expected)
                differences.push_back(
                    fmt::format("{} has other rows in {} than {}", other.node, table, first.node));
        }
    }
    return differences;
}

}  // namespace pgcascade::demo
