#include "tree/status.hpp"

#include <algorithm>

#include <fmt/format.h>

#include <pgcascade/error.hpp>

#include "tree/plan.hpp"

namespace pgcascade::tree {

namespace {

using postgres::DataDirectory;
using postgres::Slot;

std::int64_t bytes_behind(Lsn end, Lsn position) {
    // Nodes are asked at the same time, not at one instant: one that was asked later may seem to be ahead.
    return std::max<std::int64_t>(distance(position, end), 0);
}

const Downstream* find_downstream(const ServerState& upstream, const Node& node) {
    const auto find = [&](auto matches) -> const Downstream* {
        const auto found = std::find_if(upstream.downstreams.begin(), upstream.downstreams.end(), matches);
        return found == upstream.downstreams.end() ? nullptr : &*found;
    };
    if (const auto* by_slot = find([&](const Downstream& one) { return one.slot == node.slot; }))
        return by_slot;
    return find([&](const Downstream& one) { return one.slot.empty() && one.application_name == node.name; });
}

// A backup is a downstream too, of no position.
bool is_fed_wal(const Downstream& downstream) {
    return downstream.sent.has_value() || !downstream.slot.empty();
}

std::string state_of_silent(const NodeObservation& seen) {
    using State = DataDirectory::State;
    if (seen.is_starting) return "starting";
    if (seen.is_refused) return "refused";
    if (!seen.host.is_this_machine || seen.host.problem) return "unreachable";
    switch (seen.host.directory.state) {
        case State::kMissing:
        case State::kEmpty:
            return "missing";
        case State::kPartialClone:
            return "unfinished";
        case State::kCluster:
            return seen.host.is_running ? "unreachable" : "stopped";
        case State::kForeign:
            break;
    }
    return "unreachable";
}

std::string hint_for_silent(const std::string& state, const Cascade& cascade) {
    if (state == "stopped" || state == "missing" || state == "unfinished")
        return "pgcascade apply " + cascade.file.string();
    return {};
}

class NodeJudge {
  public:
    NodeJudge(const Cascade& cascade, const Observation& observation, const Node& node)
        : cascade_(cascade), observation_(observation), seen_(observation.node(node.name)) {
        status_.node = &node;
        status_.seen = &seen_;
    }

    NodeStatus judge() {
        if (!seen_.server)
            judge_silent();
        else if (seen_.is_other_server)
            judge_other_server();
        else if (node().is_relay())
            judge_relay();
        else if (seen_.server->in_recovery)
            judge_standby();
        else
            judge_primary();
        if (seen_.server) {
            look_at_slots();
            find_others();
        }
        return std::move(status_);
    }

  private:
    const Node& node() const { return *status_.node; }

    void report(Health health, std::string what, std::string hint = {}) {
        status_.problems.push_back({std::move(what), std::move(hint)});
        status_.health = std::max(status_.health, health);
    }

    void judge_silent() {
        status_.role = node().is_relay() ? "relay" : node().upstream ? "standby" : "primary";
        status_.state = state_of_silent(seen_);
        const std::string hint = hint_for_silent(status_.state, cascade_);
        report(status_.state == "starting" ? Health::kWarning : Health::kBad, seen_.unreachable.what,
               hint.empty() ? seen_.unreachable.hint : hint);
    }

    void judge_other_server() {
        status_.role = node().is_relay() ? "relay" : seen_.server->in_recovery ? "standby" : "primary";
        status_.state = "other server";
        if (node().is_relay())
            return report(Health::kBad,
                          fmt::format("the relay at {}:{} works elsewhere, not in {}", node().host,
                                      node().port, node().data_directory.string()),
                          "correct port or data_directory in " + cascade_.file.string());
        report(Health::kBad,
               fmt::format("the server at {}:{} works in {}, not in {}", node().host, node().port,
                           seen_.server->data_directory, node().data_directory.string()),
               "correct port or data_directory in " + cascade_.file.string());
    }

    void judge_primary() {
        status_.role = "primary";
        status_.state = "running";
        status_.lsn = seen_.server->flushed;
        if (node().upstream)
            report(Health::kBad, fmt::format("is a primary; {} says that it is a standby of {}",
                                             cascade_.file.string(), *node().upstream));
    }

    void judge_standby() {
        const ServerState& server = *seen_.server;
        status_.role = "standby";
        status_.lsn = server.replayed;
        const bool streams = server.receiver && server.receiver->status == "streaming";
        status_.state = streams ? "streaming" : "not streaming";
        if (!node().upstream) {
            report(Health::kBad, "is a standby; " + cascade_.file.string() + " says that it is the primary");
            return;
        }
        status_.lag = Lag{};
        const ServerState* upstream = answering_upstream();
        if (upstream != nullptr) compare_with(*upstream);
        if (!streams)
            report(
                Health::kBad,
                fmt::format("does not stream from {}{}", *node().upstream,
                            server.receiver ? " (walreceiver: " + server.receiver->status + ")" : ""),
                "its log has the reason; pgcascade plan " + cascade_.file.string() + " tells what to change");
        else if (server.receiver->sender_port != cascade_.node(*node().upstream).port)
            report(Health::kWarning,
                   fmt::format("streams from {}:{}, not from {}", server.receiver->sender_host,
                               server.receiver->sender_port, *node().upstream));
        if (!status_.lag->bytes && server.receiver && server.receiver->latest_end && server.replayed)
            status_.lag->bytes = bytes_behind(*server.receiver->latest_end, *server.replayed);
    }

    void judge_relay() {
        const ServerState& relay = *seen_.server;
        status_.role = "relay";
        status_.lsn = relay.received;
        status_.lag = Lag{};
        const bool receives = is_receiving(node(), observation_);
        status_.state = receives ? "receiving" : "not receiving";
        const ServerState* upstream = answering_upstream();
        if (upstream != nullptr && upstream->system_identifier != relay.system_identifier)
            return report(
                Health::kBad,
                fmt::format("is of another cluster than {} (system identifier {}, not {})", *node().upstream,
                            relay.system_identifier, upstream->system_identifier));
        if (upstream != nullptr && upstream->end_of_wal() && relay.received)
            status_.lag->bytes = bytes_behind(*upstream->end_of_wal(), *relay.received);
        if (relay.relay->wal && !relay.relay->wal->problem.empty())
            report(Health::kBad, "the WAL is not received: " + relay.relay->wal->problem);
        for (const postgres::RelayFeed& feed : relay.relay->feeds)
            if (!feed.problem.empty())
                report(Health::kBad, fmt::format("feed {} is not received: {}", feed.name, feed.problem));
        if (!receives && status_.problems.empty())
            report(Health::kBad, fmt::format("does not receive from {}", *node().upstream),
                   "pgcascade apply " + cascade_.file.string());
    }

    // Nothing where it does not answer.
    const ServerState* answering_upstream() const {
        const NodeObservation& upstream = observation_.node(*node().upstream);
        return upstream.server && !upstream.is_other_server ? &*upstream.server : nullptr;
    }

    void compare_with(const ServerState& upstream) {
        const ServerState& server = *seen_.server;
        if (upstream.system_identifier != server.system_identifier) {
            report(Health::kBad,
                   fmt::format("is of another cluster than {} (system identifier {}, not {})",
                               *node().upstream, server.system_identifier, upstream.system_identifier));
            return;
        }
        status_.edge = find_downstream(upstream, node());
        Lag& lag = *status_.lag;
        if (upstream.end_of_wal() && server.replayed)
            lag.bytes = bytes_behind(*upstream.end_of_wal(), *server.replayed);
        if (status_.edge != nullptr) {
            lag.time_us = status_.edge->replay_lag_us;
            if (status_.edge->state == "catchup") {
                status_.state = "catching up";
                status_.health = std::max(status_.health, Health::kWarning);
            }
        }
        // The upstream forgets what it has measured once it is idle.
        if (!lag.time_us && lag.bytes) lag.time_us = *lag.bytes == 0 ? 0 : server.last_replayed_age_us;
        check_upstream_slot(upstream);
    }

    void check_upstream_slot(const ServerState& upstream) {
        const Slot* slot = upstream.find_slot(node().slot);
        if (slot == nullptr)
            report(Health::kWarning,
                   fmt::format("has no slot \"{}\" on {}, which may remove WAL that it needs", node().slot,
                               *node().upstream),
                   "pgcascade apply " + cascade_.file.string());
        else if (!slot->active && status_.state != "not streaming")
            report(Health::kWarning,
                   fmt::format("does not use its slot \"{}\" on {}", node().slot, *node().upstream),
                   "pgcascade apply " + cascade_.file.string());
    }

    void look_at_slots() {
        for (const Slot& slot : seen_.server->slots) {
            if (slot.is_invalidated())
                report(Health::kWarning,
                       fmt::format("slot \"{}\" is invalidated ({})", slot.name, slot.invalidation_reason),
                       "whoever used it has to start afresh; then drop it");
            else if (slot.wal_status == "unreserved")
                report(Health::kWarning,
                       fmt::format("slot \"{}\" is about to lose the WAL that it needs", slot.name),
                       "let its consumer catch up, or raise max_slot_wal_keep_size");
        }
    }

    void find_others() {
        std::vector<const Downstream*> known;
        for (const Node* child : cascade_.downstreams(node().name)) {
            known.push_back(find_downstream(*seen_.server, *child));
            const std::vector<std::string> slots = child->slots();
            for (const Downstream& downstream : seen_.server->downstreams)
                if (std::find(slots.begin(), slots.end(), downstream.slot) != slots.end())
                    known.push_back(&downstream);
        }
        for (const Downstream& downstream : seen_.server->downstreams)
            if (is_fed_wal(downstream) && std::find(known.begin(), known.end(), &downstream) == known.end())
                status_.others.push_back(&downstream);
    }

    const Cascade& cascade_;
    const Observation& observation_;
    const NodeObservation& seen_;
    NodeStatus status_;
};

void add_below(const Cascade& cascade, const Observation& observation, const Node& node, TreeStatus& status) {
    status.nodes.push_back(NodeJudge{cascade, observation, node}.judge());
    for (const Node* child : cascade.downstreams(node.name)) add_below(cascade, observation, *child, status);
}

}  // namespace

TreeStatus status_of(const Cascade& cascade, const Observation& observation) {
    TreeStatus status{&cascade, {}};
    add_below(cascade, observation, cascade.primary(), status);
    return status;
}

Lag lag_of(const ServerState& server, const Downstream& downstream) {
    Lag lag;
    if (downstream.lag_bytes) return {downstream.lag_bytes, {}};
    const auto position = downstream.replayed ? downstream.replayed : downstream.flushed;
    if (server.end_of_wal() && position) lag.bytes = bytes_behind(*server.end_of_wal(), *position);
    lag.time_us = downstream.replay_lag_us;
    if (!lag.time_us && lag.bytes == 0) lag.time_us = 0;
    return lag;
}

bool TreeStatus::all_answer() const {
    return std::all_of(nodes.begin(), nodes.end(), [](const NodeStatus& one) { return one.answers(); });
}

const NodeStatus& TreeStatus::node(const std::string& name) const {
    for (const NodeStatus& one : nodes)
        if (one.node->name == name) return one;
    throw ConfigError("there is no node \"" + name + "\"");
}

}  // namespace pgcascade::tree
