#pragma once

#include <string>
#include <vector>

#include "demo/table_contents.hpp"

namespace pgcascade::demo {

// Digests of one node's tables.
struct NodeDigests {
    std::string node;
    Digests digests;
};

// How the nodes differ from the first of them, in words; nothing: they all hold the same rows.
std::vector<std::string> node_differences(const std::vector<NodeDigests>& nodes);

// Of one node.
std::int64_t total_rows(const Digests& digests);

}  // namespace pgcascade::demo
