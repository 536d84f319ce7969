#include "tree/plan_check.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "tree/node_state.hpp"
#include "tree/plan.hpp"

namespace pgcascade::tree {

namespace {

using postgres::DataDirectory;
using postgres::Slot;

constexpr int kOldestVersion = 150000;

std::uint64_t system_identifier(const NodeObservation& seen) {
    return seen.server ? seen.server->system_identifier : seen.host.directory.system_identifier;
}

std::string where(const Node& node) {
    return fmt::format("{}:{}", node.host, node.port);
}

class NodeCheck {
  public:
    NodeCheck(const Cascade& cascade, const Observation& observation)
        : cascade_(cascade), observation_(observation) {}

    std::vector<Problem> run() {
        if (observation_.passfile.problem) problems_.push_back(*observation_.passfile.problem);
        for (const Node& node : cascade_.nodes) {
            const NodeObservation& seen = observation_.node(node.name);
            const std::size_t before = problems_.size();
            seen.server ? check_running(node, seen) : check_silent(node, seen);
            if (problems_.size() > before) {
                if (!node.upstream) is_primary_known_ = false;
                continue;
            }
            check_system_identifier(node, seen);
            check_upstream(node, seen);
        }
        return std::move(problems_);
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
    std::vector<Problem> problems_;
    bool is_primary_known_ = true;  // one that is out of reach, or a stranger, tells nothing of its standbys
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
    if (!node.upstream || !is_primary_known_ || state_of(seen) == NodeState::kAbsent) return;
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
    if (state_of(seen) == NodeState::kAbsent && !seen.host.is_this_machine)
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
    const bool exists = state_of(observation_.node(node.name)) != NodeState::kAbsent;
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
    const NodeState state = state_of(seen);
    if (state != NodeState::kRunning) return state == NodeState::kStarting || state == NodeState::kStopped;
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

}  // namespace

std::vector<Problem> check_nodes(const Cascade& cascade, const Observation& observation) {
    return NodeCheck{cascade, observation}.run();
}

}  // namespace pgcascade::tree
