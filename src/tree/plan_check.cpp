#include "tree/plan_check.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "tree/node_state.hpp"
#include "tree/plan.hpp"
#include "tree/relay_files.hpp"
#include "tree/relay_plan.hpp"

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
            if (node.is_relay())
                check_relay(node, seen);
            else
                seen.server ? check_running(node, seen) : check_silent(node, seen);
            if (problems_.size() > before) {
                if (!node.upstream) is_primary_known_ = false;
                continue;
            }
            check_system_identifier(node, seen);
            check_upstream(node, seen);
        }
        if (cascade_.has_relays()) check_relay_users();
        return std::move(problems_);
    }

  private:
    void add(const std::string& what, const std::string& hint) { problems_.push_back({what, hint}); }
    void check_running(const Node& node, const NodeObservation& seen);
    void check_silent(const Node& node, const NodeObservation& seen);
    void check_directory(const Node& node, const NodeObservation& seen);
    void check_relay(const Node& node, const NodeObservation& seen);
    void check_relay_directory(const Node& node, const NodeObservation& seen);
    void check_relay_users();
    void check_feed(const Node& relay, const Feed& feed);
    void check_feed_slot(const Node& relay, const Feed& feed, const ServerState& upstream);
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

// One that was killed, or that lets nobody in for want of the new passwords, is mended from its files.
void NodeCheck::check_relay(const Node& node, const NodeObservation& seen) {
    if (seen.is_other_server)
        return add(fmt::format("{}: at {} another relay answers: none works in {}", node.name, where(node),
                               node.data_directory.string()),
                   "change the port or the data_directory in the file, or stop that relay");
    const RelayPlan relays{cascade_, observation_};
    const bool is_mended_by_apply =
        seen.host.is_running && (relays.has_other_users(node) || relays.has_other_file(node));
    if (seen.is_refused && !is_mended_by_apply) return problems_.push_back(seen.unreachable);
    if (!seen.host.is_this_machine && !seen.server)
        return add(seen.unreachable.what, "it is not on this machine, so it can't be started from here");
    if (seen.host.problem)
        return add(fmt::format("{}: {}", node.name, seen.host.problem->what), seen.host.problem->hint);
    check_relay_directory(node, seen);
    for (const Feed& feed : node.feeds) check_feed(node, feed);
}

void NodeCheck::check_relay_directory(const Node& node, const NodeObservation& seen) {
    if (seen.host.directory.state != DataDirectory::State::kForeign) return;
    const std::string path = node.data_directory.string();
    if (seen.host.is_running)
        return add(fmt::format("{}: another relay works in {}", node.name, path),
                   "name another data_directory, or stop that relay and empty the directory by hand");
    add(fmt::format("{}: {} is not empty and holds no relay that pgcascade apply has made", node.name, path),
        "name another data_directory, or empty this one by hand: pgcascade never does");
}

void NodeCheck::check_relay_users() {
    if (!observation_.relay_sources) return;
    for (const auto& [role, secret] : observation_.relay_sources->secrets)
        if (!is_scram_secret(secret))
            add(fmt::format(
                    "{}: the role {} has no SCRAM-SHA-256 password, by which alone it could log in at a "
                    "relay",
                    cascade_.primary().name, role),
                fmt::format("SET password_encryption = 'scram-sha-256'; then give it one: \\password {}",
                            role));
}

void NodeCheck::check_feed(const Node& relay, const Feed& feed) {
    const std::string in_file =
        fmt::format("{}:{}: feed {} of {}: ", cascade_.file.string(), feed.line, feed.name, relay.name);
    if (const auto& sources = observation_.relay_sources) {
        const auto database = sources->publications.find(feed.database);
        if (database == sources->publications.end())
            return add(fmt::format("{}the primary has no database {}", in_file, feed.database),
                       fmt::format("CREATE DATABASE makes it there; or mend database in [node.{}.feed.{}]",
                                   relay.name, feed.name));
        for (const std::string& name : feed.publications)
            if (!database->second.contains(name))
                add(fmt::format("{}database {} has no publication {}", in_file, feed.database, name),
                    "CREATE PUBLICATION makes it on the primary, in that database; or mend publications");
    }
    const NodeObservation& upstream = observation_.node(*relay.upstream);
    if (upstream.server && !upstream.is_other_server) check_feed_slot(relay, feed, *upstream.server);
}

void NodeCheck::check_feed_slot(const Node& relay, const Feed& feed, const ServerState& upstream) {
    const std::string name = relay.slot_of(feed);
    const Slot* slot = upstream.find_slot(name);
    const std::string afresh = fmt::format(
        "stop {} and empty its directory; apply makes it anew, and its subscribers make their subscriptions "
        "anew",
        relay.name);
    if (slot == nullptr) {
        // Before it is moved to this upstream it has none there.
        const bool had_one = observation_.node(relay.name).host.relay_feeds.contains(feed.name) &&
                             !RelayPlan{cascade_, observation_}.has_other_file(relay);
        if (had_one)
            add(fmt::format("{}: its slot {} on {} is gone, and with it what feed {} has not received yet",
                            relay.name, name, *relay.upstream, feed.name),
                afresh);
        return;
    }
    if (!slot->is_logical() || slot->plugin != "pgoutput" || slot->database != feed.database)
        return add(fmt::format("{}: slot {} on {} is not one of pgoutput in database {}", relay.name, name,
                               *relay.upstream, feed.database),
                   fmt::format("write another slot = \"…\" in [node.{}]", relay.name));
    if (slot->is_invalidated())
        return add(fmt::format("{}: its slot {} on {} is invalidated ({})", relay.name, name, *relay.upstream,
                               slot->invalidation_reason),
                   fmt::format("drop the slot, {}", afresh));
    const NodeState state = state_of(observation_.node(relay.name));
    if (slot->active && state == NodeState::kAbsent)
        add(fmt::format("{}: its slot {} on {} is used by process {}, which is not its own", relay.name, name,
                        *relay.upstream, slot->active_pid),
            fmt::format("write another slot = \"…\" in [node.{}], or stop what uses it", relay.name));
}

void NodeCheck::check_system_identifier(const Node& node, const NodeObservation& seen) {
    if (!node.upstream || !is_primary_known_ || state_of(seen) == NodeState::kAbsent) return;
    if (node.is_relay() && !seen.server) return;
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
    if (!node.is_relay() && state_of(seen) == NodeState::kAbsent && !seen.host.is_this_machine)
        add(fmt::format("{}: has to be cloned, and {} is not this machine", node.name, node.host),
            "make it on that host; pgcascade then takes it over");
    const NodeObservation& upstream = observation_.node(*node.upstream);
    if (!upstream.server) return;
    if (seen.server && !node.is_relay()) check_timeline(node, *seen.server, *upstream.server);
    if (!node.is_relay() || node.wal) check_slot(node, *upstream.server);
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
    if (node.is_relay()) return state != NodeState::kAbsent;
    if (state != NodeState::kRunning) return state == NodeState::kStarting || state == NodeState::kStopped;
    return !seen.server->receiver || seen.server->receiver->slot == node.slot;
}

// While the role is not made yet, or lacks its rights, a refusal says nothing.
void NodeCheck::check_login(const Node& node, const NodeObservation& upstream) {
    if (upstream.replication_login.outcome != ReplicationLogin::Outcome::kRefused) return;
    const auto& role = upstream.server->replication_role;  // a relay has none
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
