#include "tree/relay_plan.hpp"

#include <algorithm>

#include "tree/relay_files.hpp"

namespace pgcascade::tree {

using postgres::Slot;

bool bears_name_of(const Slot& slot, const Node& node) {
    if (!slot.is_logical()) return slot.name == node.slot && (!node.is_relay() || node.wal);
    return slot.plugin == "pgoutput" &&
           std::any_of(node.feeds.begin(), node.feeds.end(), [&](const Feed& feed) {
               return node.slot_of(feed) == slot.name && feed.database == slot.database;
           });
}

bool RelayPlan::has_other_file(const Node& relay) const {
    return seen(relay).host.relay_file != relay_file(cascade_, relay);
}

// Of a primary that does not answer nobody knows the secrets.
bool RelayPlan::has_other_users(const Node& relay) const {
    const HostState& host = seen(relay).host;
    if (!host.users_file || host.has_unread_users) return true;
    if (!observation_.relay_sources) return false;
    const auto& secrets = observation_.relay_sources->secrets;
    const std::vector<std::string> users = relay_users(cascade_);
    const bool are_known = std::all_of(users.begin(), users.end(),
                                       [&](const std::string& name) { return secrets.contains(name); });
    return are_known && *host.users_file != relay_users_file(cascade_, relay, secrets);
}

std::vector<CreateFeedSlot> RelayPlan::missing_slots(const Node& relay) const {
    std::vector<CreateFeedSlot> steps;
    if (!relay.is_relay()) return steps;
    const Node& upstream = cascade_.node(*relay.upstream);
    const NodeObservation& there = seen(upstream);
    for (const Feed& feed : relay.feeds) {
        CreateFeedSlot step{upstream.name, relay.slot_of(feed), feed.database, relay.name, false};
        if (there.server ? there.server->find_slot(step.slot) != nullptr
                         : there.host.slots.contains(step.slot))
            continue;
        step.where_missing = upstream.is_relay() && !there.server && there.host.relay_file.has_value();
        steps.push_back(std::move(step));
    }
    return steps;
}

std::vector<RelayPlan::SlotOnNode> RelayPlan::slots_of_removed_feeds(const Node& relay) const {
    std::vector<SlotOnNode> found;
    const std::vector<std::string> wanted = relay.slots();
    for (const std::string& name : slots_of_relay_file(seen(relay).host.relay_file.value_or(""))) {
        if (std::find(wanted.begin(), wanted.end(), name) != wanted.end()) continue;
        for (const Node& node : cascade_.nodes)
            if (seen(node).server)
                if (const Slot* slot = seen(node).server->find_slot(name)) found.push_back({&node, slot});
    }
    return found;
}

std::vector<RelayPlan::SlotOnNode> RelayPlan::slots_elsewhere(const Node& relay) const {
    std::vector<SlotOnNode> found;
    for (const Node& node : cascade_.nodes) {
        if (node.name == *relay.upstream || !seen(node).server) continue;
        for (const Slot& slot : seen(node).server->slots)
            if (bears_name_of(slot, relay) && !slot.temporary && !slot.synced)
                found.push_back({&node, &slot});
    }
    return found;
}

bool RelayPlan::is_fed_by_another(const Node& relay) const {
    const auto slots = slots_elsewhere(relay);
    return std::any_of(slots.begin(), slots.end(), [](const SlotOnNode& one) { return one.slot->active; });
}

}  // namespace pgcascade::tree
