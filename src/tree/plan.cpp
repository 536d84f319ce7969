#include "tree/plan.hpp"

#include <algorithm>
#include <set>

#include <fmt/format.h>

#include <pgcascade/error.hpp>

#include "postgres/conninfo.hpp"
#include "tree/hba.hpp"
#include "tree/node_state.hpp"
#include "tree/plan_check.hpp"
#include "tree/relay_files.hpp"
#include "tree/relay_plan.hpp"
#include "tree/settings_plan.hpp"

namespace pgcascade::tree {

namespace {

using postgres::Slot;

class Planner {
  public:
    Planner(const Cascade& cascade, const Observation& observation)
        : cascade_(cascade),
          observation_(observation),
          settings_(cascade, observation),
          relays_(cascade, observation) {}

    Plan run();

  private:
    const NodeObservation& seen(const Node& node) const { return observation_.node(node.name); }
    NodeState state(const Node& node) const { return state_of(seen(node)); }
    template <class One>
    void add(One step) {
        plan_.steps.emplace_back(std::move(step));
    }

    // Not one that is made, or still being made.
    bool exists(const Node& node) const {
        return state(node) != NodeState::kAbsent && state(node) != NodeState::kCloned;
    }

    void collect_changes();
    void collect_changes(const Node& node);
    void require_host(const Node& node, const std::string& needed);
    void write_passfile();
    void raise_standbys();
    void bring_up_primary();
    void ensure_role();
    void feed_downstreams(const Node& upstream);
    void allow_replication(const Node& upstream, const std::vector<const Node*>& downstreams);
    void allow_clones(const Node& relay, const std::vector<const Node*>& downstreams);
    bool is_inherited(const Node& upstream, const std::vector<std::string>& lines) const;
    void create_slot(const Node& upstream, const Node& downstream);
    void clone(const Node& upstream, const std::vector<const Node*>& downstreams);
    void create_feed_slots(const Node& relay);
    void bring_up_relay(const Node& relay);
    void bring_up_standby(const Node& node);
    void bring_up_silent_standby(const Node& node);
    void change_running(const Node& node, bool lowered);
    void attach(const Node& node);
    void lower(const Node& node);
    void drop_previous_slot(const Node& node);
    void drop_stale_slots();
    void drop_slot(const Node& node, const postgres::Slot& slot, const std::string& downstream);

    postgres::Settings settings_of(const Node& node, bool lowered) const;
    bool points_to_upstream(const Node& node) const;
    WaitStreaming wait_streaming(const Node& node) const { return {node.name, *node.upstream, node.slot}; }

    const Cascade& cascade_;
    const Observation& observation_;
    SettingsPlan settings_;
    RelayPlan relays_;
    std::map<std::string, std::vector<SettingChange>> changes_;  // of existing nodes
    std::set<std::string> raised_;                               // standbys that changed before the primary
    std::set<std::string> restarted_;                            // nodes whose downstreams have to come back
    std::set<std::pair<std::string, std::string>> dropped_;      // node, slot
    Plan plan_;
};

Plan Planner::run() {
    plan_.problems = check_nodes(cascade_, observation_);
    if (!plan_.problems.empty()) return std::move(plan_);
    collect_changes();
    if (!plan_.problems.empty()) return std::move(plan_);

    write_passfile();
    raise_standbys();
    bring_up_primary();
    ensure_role();
    // Level by level: every upstream is up before its downstreams are touched.
    for (const Node& node : cascade_.nodes) feed_downstreams(node);
    drop_stale_slots();
    if (!plan_.problems.empty()) plan_.steps.clear();
    return std::move(plan_);
}

void Planner::collect_changes() {
    for (const Node& node : cascade_.nodes)
        if (exists(node) && !node.is_relay()) collect_changes(node);
}

void Planner::collect_changes(const Node& node) {
    auto& changes = changes_[node.name] = settings_.changes(node, plan_.problems);
    for (const SettingChange& change : changes)
        if (change.needs_restart) require_host(node, "a restart for " + change.name);
}

// What SQL can't do is done on the node's host, as an account that may.
void Planner::require_host(const Node& node, const std::string& needed) {
    const HostState& host = seen(node).host;
    if (host.is_this_machine && !host.problem) return;
    plan_.problems.push_back(
        {fmt::format("{}: needs {}, and {}", node.name, needed,
                     host.problem ? host.problem->what : node.host + " is not this machine"),
         host.problem ? host.problem->hint : "do it there by hand"});
}

postgres::Settings Planner::settings_of(const Node& node, bool lowered) const {
    postgres::Settings settings;
    const auto changes = changes_.find(node.name);
    if (changes == changes_.end()) return settings;
    for (const SettingChange& change : changes->second)
        if (change.is_lowered == lowered) settings[change.name] = change.value;
    return settings;
}

// Which passwords are generated: those that initdb and CREATE ROLE are going to need.
void Planner::write_passfile() {
    if (!cascade_.passfile) return;
    const Node& primary = cascade_.primary();
    const bool is_new = state(primary) == NodeState::kAbsent;
    const bool lacks_role =
        is_new || (state(primary) == NodeState::kRunning && !seen(primary).server->replication_role);
    WritePassfile step{primary.name, *cascade_.passfile, {}};
    if (is_new && !observation_.passfile.has_user) step.roles.push_back(cascade_.user);
    if (lacks_role && !observation_.passfile.has_replication_user &&
        cascade_.replication_user != cascade_.user)
        step.roles.push_back(cascade_.replication_user);
    if (!step.roles.empty()) add(std::move(step));
}

void Planner::raise_standbys() {
    for (const Node& node : cascade_.nodes) {
        if (!node.upstream || node.is_relay() || state(node) != NodeState::kRunning ||
            !settings_.must_precede_primary(node))
            continue;
        change_running(node, false);
        raised_.insert(node.name);
    }
}

void Planner::bring_up_primary() {
    const Node& primary = cascade_.primary();
    const NodeState was = state(primary);
    if (was == NodeState::kRunning) {
        // The primary goes first in lowering, so for itself every change is like any other.
        auto& changes = changes_[primary.name];
        for (SettingChange& change : changes) change.is_lowered = false;
        return change_running(primary, false);
    }
    if (was == NodeState::kAbsent) {
        add(CreateCluster{primary.name, primary.data_directory, hba_lines_of_pgcascade(cascade_, primary),
                          settings_.of_new(primary)});
        restarted_.insert(primary.name);
        return add(StartServer{primary.name});
    }
    postgres::Settings settings = settings_of(primary, false);
    settings.merge(settings_of(primary, true));
    if (was == NodeState::kStarting && settings.empty()) return add(WaitForServer{primary.name});
    if (was == NodeState::kStarting)
        add(StopServer{primary.name, "it does not answer, and needs other settings"});
    if (!settings.empty()) add(Configure{primary.name, settings});
    restarted_.insert(primary.name);
    add(StartServer{primary.name});
}

void Planner::ensure_role() {
    const Node& primary = cascade_.primary();
    const auto& server = seen(primary).server;
    const auto downstreams = cascade_.downstreams(primary.name);
    EnsureRole step{primary.name, cascade_.replication_user, EnsureRole::Known::kUnknown,
                    cascade_.passfile.has_value()};
    if (state(primary) == NodeState::kAbsent) step.known = EnsureRole::Known::kMissing;
    if (server) {
        const auto& role = server->replication_role;
        if (role && role->can_login && role->can_replicate) return;
        step.known = role ? EnsureRole::Known::kLacksRights : EnsureRole::Known::kMissing;
    }
    // Nobody can see the roles of a server that is down; but who has been cloned got in by that role.
    const bool is_proven = !server && std::any_of(downstreams.begin(), downstreams.end(),
                                                  [&](const Node* node) { return exists(*node); });
    if (!downstreams.empty() && !is_proven) add(std::move(step));
}

void Planner::feed_downstreams(const Node& upstream) {
    const std::vector<const Node*> downstreams = cascade_.downstreams(upstream.name);
    if (downstreams.empty()) return;
    upstream.is_relay() ? allow_clones(upstream, downstreams) : allow_replication(upstream, downstreams);
    for (const Node* node : downstreams) {
        if (!node->is_relay() || node->wal) create_slot(upstream, *node);
        create_feed_slots(*node);
    }
    clone(upstream, downstreams);
    for (const Node* node : downstreams) {
        if (node->is_relay()) {
            bring_up_relay(*node);
            continue;
        }
        bring_up_standby(*node);
        lower(*node);
    }
}

void Planner::allow_replication(const Node& upstream, const std::vector<const Node*>& downstreams) {
    std::vector<std::string> lines;
    for (const Node* node : downstreams)
        for (const std::string& line : hba_lines_of_downstream(cascade_, *node))
            if (std::find(lines.begin(), lines.end(), line) == lines.end()) lines.push_back(line);
    const bool is_refused = seen(upstream).replication_login.outcome == ReplicationLogin::Outcome::kNoHbaLine;
    const bool is_new = state(upstream) == NodeState::kAbsent && !is_inherited(upstream, lines);
    // Of a server that is there and down nobody can tell; who has streamed from it got in.
    const bool is_unknown =
        exists(upstream) && !seen(upstream).server &&
        std::any_of(downstreams.begin(), downstreams.end(), [&](const Node* node) { return !exists(*node); });
    if (!is_refused && !is_new && !is_unknown) return;
    require_host(upstream, "a line in pg_hba.conf");
    add(AllowReplication{upstream.name, std::move(lines), is_unknown});
}

// What is cloned past a relay logs in at the server above it, once. Whether that lets it in shows when it is
// tried, but where the lines are those of others that stream from there.
void Planner::allow_clones(const Node& relay, const std::vector<const Node*>& downstreams) {
    const Node& source = cascade_.server_above(*downstreams.front());
    std::set<std::string> known;
    for (const Node* node : cascade_.downstreams(source.name))
        for (const std::string& line : hba_lines_of_downstream(cascade_, *node)) known.insert(line);
    AllowReplication step{source.name, {}, true};
    for (const Node* node : downstreams)
        if (!node->is_relay() && state(*node) == NodeState::kAbsent)
            for (const std::string& line : hba_lines(cascade_, *node, source))
                if (known.insert(line).second) step.lines.push_back(line);
    if (step.lines.empty() || is_let_in_by_initdb(source)) return;
    require_host(source, fmt::format("a line in pg_hba.conf, to clone what is below {}", relay.name));
    add(std::move(step));
}

// A new server has the lines of initdb, a clone those of its source: where the same ones let it in itself.
bool Planner::is_inherited(const Node& upstream, const std::vector<std::string>& lines) const {
    if (!upstream.upstream) return is_let_in_by_initdb(upstream);
    const std::vector<std::string> own = hba_lines_of_downstream(cascade_, upstream);
    return std::all_of(lines.begin(), lines.end(), [&](const std::string& line) {
        return std::find(own.begin(), own.end(), line) != own.end();
    });
}

void Planner::create_slot(const Node& upstream, const Node& downstream) {
    CreateSlot step{upstream.name, downstream.slot, downstream.name};
    const NodeObservation& there = seen(upstream);
    if (there.server) {
        const Slot* slot = there.server->find_slot(downstream.slot);
        // One that has never been used and keeps nothing would let a clone's WAL go.
        step.replaces_unusable =
            slot != nullptr && !slot->active && (has_lost_its_wal(*slot) || !slot->restart_lsn.has_value());
        if (slot != nullptr && !step.replaces_unusable) return;
    } else if (there.host.slots.contains(downstream.slot)) {
        return;
    } else if (upstream.is_relay() && exists(upstream)) {
        // Only a relay that runs tells its slots; who is set to it has one.
        if (!downstream.is_relay() && exists(downstream) && points_to_upstream(downstream)) return;
        step.where_missing = true;
    }
    add(std::move(step));
}

void Planner::create_feed_slots(const Node& relay) {
    for (CreateFeedSlot& step : relays_.missing_slots(relay)) add(std::move(step));
}

void Planner::clone(const Node& upstream, const std::vector<const Node*>& downstreams) {
    CloneNodes step{upstream.is_relay() ? cascade_.server_above(*downstreams.front()).name : upstream.name,
                    {}};
    for (const Node* node : downstreams)
        if (!node->is_relay() && state(*node) == NodeState::kAbsent)
            step.targets.push_back({node->name, node->data_directory});
    if (!step.targets.empty()) add(std::move(step));
}

// It is stopped before its file is written, and so every relay that runs does so by the file that is there.
void Planner::bring_up_relay(const Node& relay) {
    const NodeState was = state(relay);
    const bool runs = was == NodeState::kRunning || was == NodeState::kStarting;
    const WaitRelay wait{relay.name, *relay.upstream};
    if (!seen(relay).host.is_this_machine) {  // its files are its owner's
        if (!is_receiving(relay, observation_)) add(wait);
        return;
    }
    if (!relays_.has_other_file(relay) && was != NodeState::kAbsent) {
        if (relays_.has_other_users(relay)) {
            if (runs)
                add(WriteRelayUsers{relay.name, relay_users(cascade_)});
            else
                add(WriteRelayFiles{relay.name, relay.data_directory / kRelayFile, relay_users(cascade_)});
        }
        if (!runs) add(StartServer{relay.name});
        if (!runs) restarted_.insert(relay.name);
        if (!runs || restarted_.contains(*relay.upstream) || !is_receiving(relay, observation_)) add(wait);
        return;
    }
    if (was == NodeState::kRunning && relays_.is_fed_by_another(relay))
        add(WaitReceived{relay.name, *relay.upstream});
    if (runs) add(StopServer{relay.name, "its relay.toml changes"});
    // Only the old file tells of them.
    for (const auto& [node, slot] : relays_.slots_of_removed_feeds(relay))
        drop_slot(*node, *slot, relay.name);
    add(WriteRelayFiles{relay.name, relay.data_directory / kRelayFile, relay_users(cascade_)});
    add(StartServer{relay.name});
    restarted_.insert(relay.name);
    add(wait);
    for (const auto& [node, slot] : relays_.slots_elsewhere(relay)) drop_slot(*node, *slot, relay.name);
}

void Planner::bring_up_standby(const Node& node) {
    if (state(node) != NodeState::kRunning) return bring_up_silent_standby(node);
    if (!raised_.contains(node.name)) change_running(node, false);
    attach(node);
}

void Planner::bring_up_silent_standby(const Node& node) {
    const NodeState was = state(node);
    MakeStandby make{node.name, *node.upstream, node.slot, {}, {}};
    bool is_made = true;
    if (!exists(node)) {
        make.settings = settings_.of_new(node);
        make.removed = settings_.not_inherited(node);
    } else {
        make.settings = settings_of(node, false);
        is_made = !make.settings.empty() || !points_to_upstream(node);
    }
    if (was == NodeState::kStarting && is_made)
        add(StopServer{node.name, "it does not answer, and needs other settings"});
    if (is_made) add(std::move(make));
    if (was != NodeState::kStarting || is_made) {
        restarted_.insert(node.name);
        add(StartServer{node.name});
    }
    add(wait_streaming(node));
}

// Everything that is to be changed, or only what has to come last; and a restart where one is needed.
void Planner::change_running(const Node& node, bool lowered) {
    const postgres::Settings settings = settings_of(node, lowered);
    if (settings.empty()) return;
    SetSettings step{node.name, settings, {}};
    for (const SettingChange& change : changes_.at(node.name))
        if (change.needs_restart && settings.contains(change.name)) step.need_restart.push_back(change.name);
    const std::vector<std::string> need_restart = step.need_restart;
    add(std::move(step));
    if (need_restart.empty()) return;
    add(RestartServer{node.name, need_restart});
    restarted_.insert(node.name);
}

void Planner::attach(const Node& node) {
    const bool is_disturbed = restarted_.contains(node.name) || restarted_.contains(*node.upstream);
    if (is_attached(node, observation_)) {
        if (is_disturbed) add(wait_streaming(node));
        return;
    }
    // Where its upstream was down, a standby that waits for it needs no change.
    const bool only_waits = !seen(cascade_.node(*node.upstream)).server && points_to_upstream(node);
    if (!only_waits) {
        StreamFrom step{node.name, *node.upstream, node.slot, {}};
        for (const Node& other : cascade_.nodes) {
            const auto& server = seen(other).server;
            const auto& receiver = seen(node).server->receiver;
            if (!server || !receiver || other.name == *node.upstream) continue;
            const Slot* slot = server->find_slot(receiver->slot);
            if (slot != nullptr && slot->active) step.previous = other.name;
        }
        add(std::move(step));
    }
    add(wait_streaming(node));
    if (!only_waits) drop_previous_slot(node);
}

void Planner::lower(const Node& node) {
    if (settings_of(node, true).empty()) return;
    add(WaitReplayed{node.name, cascade_.primary().name});
    if (state(node) == NodeState::kRunning) {
        change_running(node, true);
    } else {
        // It was down, so what it needs a restart for is not known: all of these do (postmaster.c).
        SetSettings step{node.name, settings_of(node, true), {}};
        for (const auto& [name, value] : step.settings) step.need_restart.push_back(name);
        const std::vector<std::string> names = step.need_restart;
        add(std::move(step));
        add(RestartServer{node.name, names});
        restarted_.insert(node.name);
    }
    add(wait_streaming(node));
}

// The slot through which the standby has streamed until now, where it is another than the file's.
void Planner::drop_previous_slot(const Node& node) {
    const auto& receiver = seen(node).server->receiver;
    if (!receiver || receiver->slot.empty()) return;
    for (const Node& other : cascade_.nodes) {
        const auto& server = seen(other).server;
        const Slot* slot = server ? server->find_slot(receiver->slot) : nullptr;
        if (slot == nullptr || !slot->active || slot->is_logical()) continue;
        drop_slot(other, *slot, node.name);
    }
}

// A slot that bears a node's name on a server that is not its upstream is left over from a move.
void Planner::drop_stale_slots() {
    for (const Node& other : cascade_.nodes) {
        if (!seen(other).server) continue;
        for (const Slot& slot : seen(other).server->slots) {
            if (slot.active || slot.temporary || slot.synced) continue;
            for (const Node& node : cascade_.nodes)
                if (node.upstream && *node.upstream != other.name && bears_name_of(slot, node))
                    drop_slot(other, slot, node.name);
        }
    }
}

void Planner::drop_slot(const Node& node, const Slot& slot, const std::string& downstream) {
    for (const Node* other : cascade_.downstreams(node.name))
        if (bears_name_of(slot, *other)) return;  // it is the file's, for this or another node
    if (dropped_.emplace(node.name, slot.name).second)
        add(DropSlot{node.name, slot.name, downstream, slot.is_logical()});
}

// By the text of its settings: only where its walreceiver can't tell.
bool Planner::points_to_upstream(const Node& node) const {
    const NodeObservation& here = seen(node);
    const auto value = [&](const std::string& name) -> std::string {
        if (!here.server) {
            const auto found = here.host.configured.find(name);
            return found != here.host.configured.end() ? found->second : "";
        }
        const Setting* setting = here.server->find_setting(name);
        return setting != nullptr ? setting->value : "";
    };
    if (value("primary_slot_name") != node.slot) return false;
    const Node& upstream = cascade_.node(*node.upstream);
    try {
        const auto conninfo = postgres::Conninfo::parse(value("primary_conninfo"));
        const std::string host =
            conninfo.get("host").value_or(conninfo.get("hostaddr").value_or("localhost"));
        return is_same_machine_name(host, upstream.host) &&
               conninfo.get("port").value_or("5432") == std::to_string(upstream.port);
    } catch (const ConfigError&) {
        return false;  // it points nowhere
    }
}

}  // namespace

bool is_receiving(const Node& relay, const Observation& observation) {
    const auto& here = observation.node(relay.name).server;
    const auto& upstream = observation.node(relay.upstream.value()).server;
    if (!here || !here->relay || !upstream) return false;
    if (relay.wal && (!here->relay->wal || !here->relay->wal->problem.empty())) return false;
    for (const Feed& feed : relay.feeds) {
        const postgres::RelayFeed* received = here->relay->find_feed(feed.name);
        if (received == nullptr || !received->received || !received->problem.empty()) return false;
    }
    const std::vector<std::string> slots = relay.slots();
    return std::all_of(slots.begin(), slots.end(), [&](const std::string& name) {
        const Slot* slot = upstream->find_slot(name);
        return slot != nullptr && slot->active;
    });
}

bool is_attached(const Node& node, const Observation& observation) {
    if (node.is_relay()) return is_receiving(node, observation);
    const auto& server = observation.node(node.name).server;
    const auto& upstream = observation.node(node.upstream.value()).server;
    if (!server || !upstream || !server->receiver || server->receiver->slot != node.slot) return false;
    if (server->system_identifier != upstream->system_identifier) return false;
    return std::any_of(upstream->downstreams.begin(), upstream->downstreams.end(),
                       [&](const Downstream& downstream) {
                           return downstream.slot == node.slot &&
                                  (downstream.state == "streaming" || downstream.state == "catchup");
                       });
}

Plan plan(const Cascade& cascade, const Observation& observation) {
    return Planner{cascade, observation}.run();
}

void throw_problems(const std::vector<Problem>& problems) {
    if (problems.empty()) return;
    if (problems.size() == 1) throw ConfigError(problems[0].what, problems[0].hint);
    std::string what = fmt::format("{} things have to be mended first:", problems.size());
    for (const Problem& problem : problems) {
        what += "\n  " + problem.what;
        if (!problem.hint.empty()) what += "\n    hint: " + problem.hint;
    }
    throw ConfigError(what);
}

}  // namespace pgcascade::tree
