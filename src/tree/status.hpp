#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <pgcascade/lsn.hpp>

#include "tree/cascade_file.hpp"
#include "tree/observation.hpp"

// What an observation means for whoever looks at the tree: pure, no server is asked.

namespace pgcascade::tree {

// How far a server is behind the one that feeds it.
struct Lag {
    std::optional<std::int64_t> bytes;    // of WAL that the upstream has and that is not replayed here
    std::optional<std::int64_t> time_us;  // from its end at the upstream to its replay here, as measured last
};

enum class Health { kGood, kWarning, kBad };

struct NodeStatus {
    const Node* node = nullptr;
    const NodeObservation* seen = nullptr;
    std::string role;  // "primary", "standby", "relay"; what the file says where the node does not answer

    // "running" (a primary), "streaming", "catching up" or "not streaming" (a standby), "receiving" or "not
    // receiving" (a relay); where nobody answers:
    // "starting", "refused", "stopped", "missing", "unfinished" or "unreachable"; "other server" where
    // another one than the file's does.
    std::string state;
    Health health = Health::kGood;
    std::optional<Lsn> lsn;  // where a primary's WAL ends; how far a standby has replayed, a relay received
    std::optional<Lag> lag;  // at the edge to its upstream; nothing for a primary
    const Downstream* edge = nullptr;       // what the upstream knows of that edge
    std::vector<const Downstream*> others;  // whom it feeds beside the nodes of the file
    std::vector<Problem> problems;          // why it is not as it should be

    bool answers() const { return seen->server.has_value(); }
};

// Views into the cascade and the observation, which have to outlive it.
struct TreeStatus {
    const Cascade* cascade = nullptr;
    std::vector<NodeStatus> nodes;  // as in the file's tree, depth first

    bool all_answer() const;
    const NodeStatus& node(const std::string& name) const;  // throws ConfigError
};

TreeStatus status_of(const Cascade& cascade, const Observation& observation);

// How far someone whom `server` feeds is behind it.
Lag lag_of(const ServerState& server, const Downstream& downstream);

// One JSON object, without a line break; docs/commands.md is its reference.
std::string to_json(const TreeStatus& status);

}  // namespace pgcascade::tree
