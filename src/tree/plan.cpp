#include "tree/plan.hpp"

#include <algorithm>
#include <set>

#include <fmt/format.h>

#include <pgcascade/error.hpp>

#include "postgres/conninfo.hpp"
#include "tree/hba.hpp"
#include "tree/settings_plan.hpp"

namespace pgcascade::tree {

namespace {

using postgres::DataDirectory;
using postgres::Slot;

constexpr int kOldestVersion = 150000;

// What can be done with a node, as it was seen.
enum class State {
    kRunning,   // it answers
    kStarting,  // it runs, and does not answer yet, or not where the file says
    kStopped,   // a cluster without a server
    kCloned,    // a base backup on which no server has run: not a standby yet
    kAbsent,    // to be made
};

State state_of(const NodeObservation& seen) {
    if (seen.server) return State::kRunning;
    if (seen.host.directory.state != DataDirectory::State::kCluster) return State::kAbsent;
    if (seen.host.is_running) return State::kStarting;
    return is_fresh_clone(seen.host) ? State::kCloned : State::kStopped;
}

std::uint64_t system_identifier(const NodeObservation& seen) {
    return seen.server ? seen.server->system_identifier : seen.host.directory.system_identifier;
}

std::string where(const Node& node) {
    return fmt::format("{}:{}", node.host, node.port);
}

bool has_lost_its_wal(const Slot& slot) {
    return slot.wal_status == "lost" || slot.is_invalidated();
}

// ── what a person has to mend first ────────────────────────────────────────────────────────────────────

class NodeCheck {
  public:
    NodeCheck(const Cascade& cascade, const Observation& observation, std::vector<Problem>& problems)
        : cascade_(cascade), observation_(observation), problems_(problems) {}

    void run() {
        if (observation_.passfile.problem) problems_.push_back(*observation_.passfile.problem);
        for (const Node& node : cascade_.nodes) {
            const NodeObservation& seen = observation_.node(node.name);
            const std::size_t before = problems_.size();
            seen.server ? check_running(node, seen) : check_silent(node, seen);
            if (problems_.size() > before) continue;
            check_system_identifier(node, seen);
            check_upstream(node, seen);
        }
    }

  private:
    void add(const std::string& what, const std::string& hint) { problems_.push_back({what, hint}); }
    void check_running(const Node& node, const NodeObservation& seen);
    void check_silent(const Node& node, const NodeObservation& seen);
    void check_directory(const Node& node, const NodeObservation& seen);
    void check_system_identifier(const Node& node, const NodeObservation& seen);
    void check_upstream(const Node& node, const NodeObservation& seen);
    void check_timeline(const Node& node, const ServerState& server, const ServerState& upstream);
    void check_slot(const Node& node, const ServerState& upstream);
    bool may_use_slot(const Node& node) const;
    void check_login(const Node& node, const NodeObservation& upstream);

    const Cascade& cascade_;
    const Observation& observation_;
    std::vector<Problem>& problems_;
};

void NodeCheck::check_running(const Node& node, const NodeObservation& seen) {
    const ServerState& server = *seen.server;
    if (seen.is_other_server)
        return add(fmt::format("{}: at {} another server answers: its data directory is {}, not {}",
                               node.name, where(node), server.data_directory, node.data_directory.string()),
                   "change the port or the data_directory in the file, or stop that server");
    if (server.version < kOldestVersion)
        return add(fmt::format("{}: PostgreSQL {} is too old", node.name, server.version_name),
                   "15 is the oldest that pgcascade supports; 16 the oldest that decodes on a standby");
    if (!server.is_superuser)
        return add(fmt::format("{}: role {} is no superuser", node.name, cascade_.user),
                   "name one as `user` in [cascade]: settings, slots and pg_hba.conf need it");
    if (!node.upstream && server.in_recovery)
        add(fmt::format("{}: is a standby, and the file says it is the primary", node.name),
            "give it an upstream in the file, or promote it: SELECT pg_promote()");
    if (node.upstream && !server.in_recovery)
        add(fmt::format("{}: is a primary, and the file says it is a standby of {}", node.name,
                        *node.upstream),
            "it may have changes that the primary has not; once nothing in it is needed any more, stop it, "
            "empty its data directory, and apply clones it");
}

void NodeCheck::check_silent(const Node& node, const NodeObservation& seen) {
    if (seen.is_refused) return problems_.push_back(seen.unreachable);
    if (!seen.host.is_this_machine)
        return add(seen.unreachable.what,
                   "it is not on this machine, so it can't be started from here" +
                       (seen.unreachable.hint.empty() ? "" : "; " + seen.unreachable.hint));
    if (seen.host.problem)
        return add(fmt::format("{}: {}", node.name, seen.host.problem->what), seen.host.problem->hint);
    check_directory(node, seen);
}

void NodeCheck::check_directory(const Node& node, const NodeObservation& seen) {
    const DataDirectory& directory = seen.host.directory;
    const std::string path = node.data_directory.string();
    if (directory.state == DataDirectory::State::kForeign)
        return add(fmt::format("{}: {} is not empty and holds no cluster", node.name, path),
                   "name another data_directory, or empty this one by hand: pgcascade never does");
    if (directory.state == DataDirectory::State::kCluster) {
        if (!node.upstream && directory.is_standby)
            add(fmt::format("{}: {} is a standby's, and the file says it is the primary", node.name, path),
                "give it an upstream in the file, or start it and promote it: SELECT pg_promote()");
        if (node.upstream && !directory.is_standby && !is_fresh_clone(seen.host))
            add(fmt::format("{}: {} was a primary's, and the file says it is a standby of {}", node.name,
                            path, *node.upstream),
                "it may have changes that the primary has not; once nothing in it is needed any more, empty "
                "the directory, and apply clones it");
        return;
    }
    if (!node.upstream && !node.create)
        add(fmt::format("{}: there is no cluster in {} and nobody answers at {}", node.name, path,
                        where(node)),
            fmt::format("write create = true in [node.{}] to have it made, or mend data_directory, host or "
                        "port",
                        node.name));
}

void NodeCheck::check_system_identifier(const Node& node, const NodeObservation& seen) {
    if (!node.upstream || state_of(seen) == State::kAbsent) return;
    const NodeObservation& primary = observation_.node(cascade_.primary().name);
    const std::uint64_t here = system_identifier(seen);
    const std::uint64_t there = system_identifier(primary);
    if (here == there) return;
    const std::string whose =
        there == 0 ? "the primary does not exist yet" : fmt::format("the primary's is {}", there);
    add(fmt::format("{}: {} belongs to another cluster: its system identifier is {}, {}", node.name,
                    node.data_directory.string(), here, whose),
        "name another data_directory, or empty this one by hand: pgcascade never does");
}

void NodeCheck::check_upstream(const Node& node, const NodeObservation& seen) {
    if (!node.upstream || is_attached(node, observation_)) return;
    if (seen.host.passfile_problem)
        add(fmt::format("{}: {}", node.name, seen.host.passfile_problem->what),
            seen.host.passfile_problem->hint);
    if (state_of(seen) == State::kAbsent && !seen.host.is_this_machine)
        add(fmt::format("{}: has to be cloned, and {} is not this machine", node.name, node.host),
            "make it on that host; pgcascade then takes it over");
    const NodeObservation& upstream = observation_.node(*node.upstream);
    if (!upstream.server) return;
    if (seen.server) check_timeline(node, *seen.server, *upstream.server);
    check_slot(node, *upstream.server);
    check_login(node, upstream);
}

void NodeCheck::check_timeline(const Node& node, const ServerState& server, const ServerState& upstream) {
    if (server.timeline <= upstream.timeline) return;
    add(fmt::format("{}: is on timeline {}, and {} on {}: their histories have parted", node.name,
                    server.timeline.value, *node.upstream, upstream.timeline.value),
        "once nothing in it is needed any more, stop it, empty its data directory, and apply clones it");
}

void NodeCheck::check_slot(const Node& node, const ServerState& upstream) {
    const Slot* slot = upstream.find_slot(node.slot);
    if (slot == nullptr) return;
    if (slot->is_logical())
        return add(
            fmt::format("{}: its slot {} is a logical one on {}", node.name, node.slot, *node.upstream),
            fmt::format("write another slot = \"…\" in [node.{}]", node.name));
    const bool exists = state_of(observation_.node(node.name)) != State::kAbsent;
    if (exists && has_lost_its_wal(*slot))
        add(fmt::format("{}: {} has removed WAL that it still needs (slot {}: {})", node.name, *node.upstream,
                        node.slot,
                        slot->invalidation_reason.empty() ? slot->wal_status : slot->invalidation_reason),
            fmt::format(
                "stop {}, empty its data directory, and apply clones it; max_slot_wal_keep_size on {} "
                "says how much WAL a slot may hold",
                node.name, *node.upstream));
    if (slot->active && !may_use_slot(node))
        add(fmt::format("{}: its slot {} on {} is used by process {}, which is not its walreceiver's",
                        node.name, node.slot, *node.upstream, slot->active_pid),
            fmt::format("write another slot = \"…\" in [node.{}], or stop what uses it", node.name));
}

// A walreceiver that has just connected does not stream yet, and one that has ended may still count.
bool NodeCheck::may_use_slot(const Node& node) const {
    const NodeObservation& seen = observation_.node(node.name);
    const State state = state_of(seen);
    if (state != State::kRunning) return state == State::kStarting || state == State::kStopped;
    return !seen.server->receiver || seen.server->receiver->slot == node.slot;
}

// While the role is not made yet, or lacks its rights, a refusal says nothing.
void NodeCheck::check_login(const Node& node, const NodeObservation& upstream) {
    if (upstream.replication_login.outcome != ReplicationLogin::Outcome::kRefused) return;
    const auto& role = upstream.server->replication_role;
    if (!role || !role->can_login || !role->can_replicate) return;
    const Problem& problem = upstream.replication_login.problem;
    const bool is_reported = std::any_of(problems_.begin(), problems_.end(), [&](const Problem& other) {
        return other.what.ends_with(problem.what);
    });
    if (is_reported) return;
    add(fmt::format("{}: the replication role {} can't log in at {}: {}", node.name,
                    cascade_.replication_user, *node.upstream, problem.what),
        problem.hint);
}

// ── the steps ──────────────────────────────────────────────────────────────────────────────────────────

class Planner {
  public:
    Planner(const Cascade& cascade, const Observation& observation)
        : cascade_(cascade), observation_(observation), settings_(cascade, observation) {}

    Plan run();

  private:
    const NodeObservation& seen(const Node& node) const { return observation_.node(node.name); }
    State state(const Node& node) const { return state_of(seen(node)); }
    template <class One>
    void add(One step) {
        plan_.steps.emplace_back(std::move(step));
    }

    // Not one that is made, or still being made.
    bool exists(const Node& node) const {
        return state(node) != State::kAbsent && state(node) != State::kCloned;
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
    bool is_inherited(const Node& upstream, const std::vector<std::string>& lines) const;
    void create_slot(const Node& upstream, const Node& downstream);
    void clone(const Node& upstream, const std::vector<const Node*>& downstreams);
    void bring_up_standby(const Node& node);
    void bring_up_silent_standby(const Node& node);
    void change_running(const Node& node, bool lowered);
    void attach(const Node& node);
    void lower(const Node& node);
    void drop_previous_slot(const Node& node);
    void drop_stale_slots();
    void drop_slot(const Node& node, const std::string& slot, const std::string& downstream);

    postgres::Settings settings_of(const Node& node, bool lowered) const;
    bool points_to_upstream(const Node& node) const;
    WaitStreaming wait_streaming(const Node& node) const { return {node.name, *node.upstream, node.slot}; }

    const Cascade& cascade_;
    const Observation& observation_;
    SettingsPlan settings_;
    std::map<std::string, std::vector<SettingChange>> changes_;  // of existing nodes
    std::set<std::string> raised_;                               // standbys that changed before the primary
    std::set<std::string> restarted_;                            // nodes whose downstreams have to come back
    std::set<std::pair<std::string, std::string>> dropped_;      // node, slot
    Plan plan_;
};

Plan Planner::run() {
    NodeCheck{cascade_, observation_, plan_.problems}.run();
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
        if (exists(node)) collect_changes(node);
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
    const bool is_new = state(primary) == State::kAbsent;
    const bool lacks_role =
        is_new || (state(primary) == State::kRunning && !seen(primary).server->replication_role);
    WritePassfile step{primary.name, *cascade_.passfile, {}};
    if (is_new && !observation_.passfile.has_user) step.roles.push_back(cascade_.user);
    if (lacks_role && !observation_.passfile.has_replication_user &&
        cascade_.replication_user != cascade_.user)
        step.roles.push_back(cascade_.replication_user);
    if (!step.roles.empty()) add(std::move(step));
}

void Planner::raise_standbys() {
    for (const Node& node : cascade_.nodes) {
        if (!node.upstream || state(node) != State::kRunning || !settings_.must_precede_primary(node))
            continue;
        change_running(node, false);
        raised_.insert(node.name);
    }
}

void Planner::bring_up_primary() {
    const Node& primary = cascade_.primary();
    const State was = state(primary);
    if (was == State::kRunning) {
        // The primary goes first in lowering, so for itself every change is like any other.
        auto& changes = changes_[primary.name];
        for (SettingChange& change : changes) change.is_lowered = false;
        return change_running(primary, false);
    }
    if (was == State::kAbsent) {
        add(CreateCluster{primary.name, primary.data_directory, hba_lines_of_pgcascade(cascade_, primary)});
        add(Configure{primary.name, settings_.of_new(primary)});
        restarted_.insert(primary.name);
        return add(StartServer{primary.name});
    }
    postgres::Settings settings = settings_of(primary, false);
    settings.merge(settings_of(primary, true));
    if (was == State::kStarting && settings.empty()) return add(WaitForServer{primary.name});
    if (was == State::kStarting)
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
    if (state(primary) == State::kAbsent) step.known = EnsureRole::Known::kMissing;
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
    allow_replication(upstream, downstreams);
    for (const Node* node : downstreams) create_slot(upstream, *node);
    clone(upstream, downstreams);
    for (const Node* node : downstreams) {
        bring_up_standby(*node);
        lower(*node);
    }
}

void Planner::allow_replication(const Node& upstream, const std::vector<const Node*>& downstreams) {
    std::vector<std::string> lines;
    for (const Node* node : downstreams)
        for (const std::string& line : hba_lines_of_standby(cascade_, *node))
            if (std::find(lines.begin(), lines.end(), line) == lines.end()) lines.push_back(line);
    const bool is_refused = seen(upstream).replication_login.outcome == ReplicationLogin::Outcome::kNoHbaLine;
    const bool is_new = state(upstream) == State::kAbsent && !is_inherited(upstream, lines);
    if (!is_refused && !is_new) return;
    require_host(upstream, "a line in pg_hba.conf");
    add(AllowReplication{upstream.name, std::move(lines)});
}

// A new server has the lines of initdb, a clone those of its source: where the same ones let it in itself.
bool Planner::is_inherited(const Node& upstream, const std::vector<std::string>& lines) const {
    if (!upstream.upstream) return is_let_in_by_initdb(upstream);
    const std::vector<std::string> own = hba_lines_of_standby(cascade_, upstream);
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
    }
    add(std::move(step));
}

void Planner::clone(const Node& upstream, const std::vector<const Node*>& downstreams) {
    CloneNodes step{upstream.name, {}};
    for (const Node* node : downstreams)
        if (state(*node) == State::kAbsent) step.targets.push_back({node->name, node->data_directory});
    if (!step.targets.empty()) add(std::move(step));
}

void Planner::bring_up_standby(const Node& node) {
    if (state(node) != State::kRunning) return bring_up_silent_standby(node);
    if (!raised_.contains(node.name)) change_running(node, false);
    attach(node);
}

void Planner::bring_up_silent_standby(const Node& node) {
    const State was = state(node);
    MakeStandby make{node.name, *node.upstream, node.slot, {}, {}};
    bool is_made = true;
    if (!exists(node)) {
        make.settings = settings_.of_new(node);
        make.removed = settings_.not_inherited(node);
    } else {
        make.settings = settings_of(node, false);
        is_made = !make.settings.empty() || !points_to_upstream(node);
    }
    if (was == State::kStarting && is_made)
        add(StopServer{node.name, "it does not answer, and needs other settings"});
    if (is_made) add(std::move(make));
    if (was != State::kStarting || is_made) {
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
    if (state(node) == State::kRunning) {
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
        drop_slot(other, receiver->slot, node.name);
    }
}

// A slot that bears a node's name on a server that is not its upstream is left over from a move.
void Planner::drop_stale_slots() {
    for (const Node& other : cascade_.nodes) {
        if (!seen(other).server) continue;
        for (const Slot& slot : seen(other).server->slots) {
            if (slot.is_logical() || slot.active || slot.temporary || slot.synced) continue;
            for (const Node& node : cascade_.nodes)
                if (node.upstream && node.slot == slot.name && *node.upstream != other.name)
                    drop_slot(other, slot.name, node.name);
        }
    }
}

void Planner::drop_slot(const Node& node, const std::string& slot, const std::string& downstream) {
    for (const Node* other : cascade_.downstreams(node.name))
        if (other->slot == slot) return;  // it is the file's, for this or another node
    if (dropped_.emplace(node.name, slot).second) add(DropSlot{node.name, slot, downstream});
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

bool is_attached(const Node& node, const Observation& observation) {
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
