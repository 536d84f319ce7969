#pragma once

#include "tree/observation.hpp"

namespace pgcascade::tree {

// What can be done with a node, as it was seen.
enum class NodeState {
    kRunning,   // it answers
    kStarting,  // it runs, and does not answer yet, or not where the file says
    kStopped,   // a cluster without a server
    kCloned,    // a base backup on which no server has run: not a standby yet
    kAbsent,    // to be made
};

inline NodeState state_of(const NodeObservation& seen) {
    if (seen.server) return NodeState::kRunning;
    if (seen.host.directory.state != postgres::DataDirectory::State::kCluster) return NodeState::kAbsent;
    if (seen.host.is_running) return NodeState::kStarting;
    return is_fresh_clone(seen.host) ? NodeState::kCloned : NodeState::kStopped;
}

inline bool has_lost_its_wal(const postgres::Slot& slot) {
    return slot.wal_status == "lost" || slot.is_invalidated();
}

}  // namespace pgcascade::tree
