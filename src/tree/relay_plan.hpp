#pragma once

#include <utility>
#include <vector>

#include "tree/cascade_file.hpp"
#include "tree/observation.hpp"
#include "tree/step.hpp"

// How a relay differs from the file. Pure.

namespace pgcascade::tree {

// Whether the slot is one that the node would have on its upstream, wherever it is.
bool bears_name_of(const postgres::Slot& slot, const Node& node);

class RelayPlan {
  public:
    RelayPlan(const Cascade& cascade, const Observation& observation)
        : cascade_(cascade), observation_(observation) {}

    // Its relay.toml, and who may log in. A relay that is there.
    bool has_other_file(const Node& relay) const;
    bool has_other_users(const Node& relay) const;

    // For its feeds, on the upstream of the file. None for a node that is no relay.
    std::vector<CreateFeedSlot> missing_slots(const Node& relay) const;

    struct SlotOnNode {
        const Node* node;
        const postgres::Slot* slot;
    };
    // What it has used until now, by the file that it runs by, and uses no longer.
    std::vector<SlotOnNode> slots_of_removed_feeds(const Node& relay) const;
    // On others than its upstream.
    std::vector<SlotOnNode> slots_elsewhere(const Node& relay) const;
    bool is_fed_by_another(const Node& relay) const;

  private:
    const NodeObservation& seen(const Node& node) const { return observation_.node(node.name); }

    const Cascade& cascade_;
    const Observation& observation_;
};

}  // namespace pgcascade::tree
