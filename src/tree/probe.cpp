#include "tree/probe.hpp"

#include <cerrno>
#include <filesystem>
#include <future>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <pgcascade/error.hpp>

#include "base/file.hpp"
#include "tree/host.hpp"
#include "tree/passfile.hpp"

namespace pgcascade::tree {

using postgres::Connection;
using postgres::Result;

namespace {

std::uint32_t unsigned_integer(const Result& result, int row, int column) {
    return static_cast<std::uint32_t>(result.integer(row, column));
}

std::optional<std::int64_t> optional_integer(const Result& result, int row, int column) {
    if (result.is_null(row, column)) return std::nullopt;
    return result.integer(row, column);
}

// ── one server ─────────────────────────────────────────────────────────────────────────────────────────

void observe_identity(Connection& connection, ServerState& state) {
    // The timeline of a primary is that of the WAL it writes now; the control file's follows at the next
    // checkpoint only.
    const Result row = connection.query(
        "SELECT pg_is_in_recovery(), system_identifier::text, current_setting('is_superuser') = 'on', "
        "current_setting('server_version'), "
        "CASE WHEN pg_is_in_recovery() THEN timeline_id "
        "ELSE ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int END, "
        "CASE WHEN NOT pg_is_in_recovery() THEN pg_current_wal_insert_lsn() END, "
        "CASE WHEN NOT pg_is_in_recovery() THEN pg_current_wal_flush_lsn() END, "
        "pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn(), "
        "(extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()) * 1000000)::bigint "
        "FROM pg_control_system(), pg_control_checkpoint()");
    state.version = connection.server_version();
    state.in_recovery = row.boolean(0, 0);
    state.system_identifier = std::stoull(std::string{row.at(0, 1)});
    state.is_superuser = row.boolean(0, 2);
    state.version_name = row.at(0, 3);
    state.timeline = TimelineId{unsigned_integer(row, 0, 4)};
    state.inserted = row.lsn(0, 5);
    state.flushed = row.lsn(0, 6);
    if (!state.in_recovery) return;
    state.received = row.lsn(0, 7);
    state.replayed = row.lsn(0, 8);
    state.last_replayed_age_us = optional_integer(row, 0, 9);
    // A standby that replays from an archive, or whose walreceiver has not run since its start, has received
    // what it has replayed.
    if (!state.received || (state.replayed && *state.received < *state.replayed))
        state.received = state.replayed;
}

void observe_receiver(Connection& connection, ServerState& state) {
    const Result row = connection.query(
        "SELECT status, slot_name, sender_host, sender_port, received_tli, written_lsn, flushed_lsn, "
        "latest_end_lsn FROM pg_stat_wal_receiver");
    if (row.rows() == 0) return;
    Receiver receiver;
    receiver.status = row.at(0, 0);
    receiver.slot = row.at(0, 1);
    receiver.sender_host = row.at(0, 2);
    receiver.sender_port = static_cast<int>(row.integer(0, 3));
    receiver.timeline = TimelineId{unsigned_integer(row, 0, 4)};
    receiver.written = row.lsn(0, 5);
    receiver.flushed = row.lsn(0, 6);
    receiver.latest_end = row.lsn(0, 7);
    if (state.timeline < receiver.timeline) state.timeline = receiver.timeline;
    state.receiver = std::move(receiver);
}

void observe_downstreams(Connection& connection, ServerState& state) {
    const Result rows = connection.query(
        "SELECT r.pid, r.application_name, host(r.client_addr), r.state, s.slot_name, r.sent_lsn, "
        "r.write_lsn, r.flush_lsn, r.replay_lsn, (extract(epoch FROM r.write_lag) * 1000000)::bigint, "
        "(extract(epoch FROM r.flush_lag) * 1000000)::bigint, "
        "(extract(epoch FROM r.replay_lag) * 1000000)::bigint, r.sync_state "
        "FROM pg_stat_replication r LEFT JOIN pg_replication_slots s ON s.active_pid = r.pid "
        "ORDER BY r.application_name, r.pid");
    for (int row = 0; row < rows.rows(); ++row) {
        Downstream downstream;
        downstream.pid = static_cast<int>(rows.integer(row, 0));
        downstream.application_name = rows.at(row, 1);
        downstream.client_address = rows.at(row, 2);
        downstream.state = rows.at(row, 3);
        downstream.slot = rows.at(row, 4);
        downstream.sent = rows.lsn(row, 5);
        downstream.written = rows.lsn(row, 6);
        downstream.flushed = rows.lsn(row, 7);
        downstream.replayed = rows.lsn(row, 8);
        downstream.write_lag_us = optional_integer(rows, row, 9);
        downstream.flush_lag_us = optional_integer(rows, row, 10);
        downstream.replay_lag_us = optional_integer(rows, row, 11);
        downstream.sync_state = rows.at(row, 12);
        state.downstreams.push_back(std::move(downstream));
    }
}

Setting placeholder(const std::string& value) {
    Setting setting;
    setting.value = value;
    setting.type = "string";
    setting.context = "sighup";
    setting.source = "configuration file";
    return setting;
}

void observe_settings(Connection& connection, const std::vector<std::string>& names, ServerState& state) {
    const std::string wanted = fmt::format("{{{}}}", fmt::join(names, ","));
    const Result rows = connection.query(
        "SELECT lower(name), setting, unit, vartype, context, source, pending_restart "
        "FROM pg_settings WHERE lower(name) = ANY ($1::text[])",
        {wanted});
    for (int row = 0; row < rows.rows(); ++row) {
        Setting setting;
        setting.value = rows.at(row, 1);
        setting.unit = rows.at(row, 2);
        setting.type = rows.at(row, 3);
        setting.context = rows.at(row, 4);
        setting.source = rows.at(row, 5);
        setting.pending_restart = rows.boolean(row, 6);
        state.settings.emplace(rows.at(row, 0), std::move(setting));
    }
    if (!state.is_superuser) return;
    // The last line of a name counts; a change that waits for a restart is not "applied", but it is there.
    const Result files = connection.query(
        "SELECT DISTINCT ON (lower(name)) lower(name), setting FROM pg_file_settings "
        "WHERE lower(name) = ANY ($1::text[]) ORDER BY lower(name), seqno DESC",
        {wanted});
    for (int row = 0; row < files.rows(); ++row) {
        const std::string name{files.at(row, 0)};
        // pg_settings hides those of an extension that is not loaded: the server has the text, and no more.
        if (name.find('.') != std::string::npos && !state.settings.contains(name))
            state.settings.emplace(name, placeholder(std::string{files.at(row, 1)}));
        const auto setting = state.settings.find(name);
        if (setting != state.settings.end()) setting->second.in_files = files.text(row, 1);
    }
}

void observe_role(Connection& connection, const std::string& name, ServerState& state) {
    const Result row = connection.query(
        "SELECT rolcanlogin, rolreplication OR rolsuper FROM pg_roles WHERE rolname = $1", {name});
    if (row.rows() > 0) state.replication_role = Role{row.boolean(0, 0), row.boolean(0, 1)};
}

void observe_files(Connection& connection, ServerState& state) {
    if (!state.is_superuser) return;
    const Result row = connection.query(
        "SELECT current_setting('data_directory'), current_setting('config_file'), "
        "current_setting('hba_file')");
    state.data_directory = row.at(0, 0);
    state.config_file = row.at(0, 1);
    state.hba_file = row.at(0, 2);
}

// ── one node ───────────────────────────────────────────────────────────────────────────────────────────

class NodeProbe {
  public:
    NodeProbe(const Cascade& cascade, const Node& node, const ProbeOptions& options)
        : cascade_(cascade), node_(node), options_(options) {}

    NodeObservation run() {
        NodeObservation seen;
        ask_server(seen);
        const Host host{cascade_, node_, options_.stop_fd};
        seen.host = options_.for_plan && !seen.server && !node_.is_relay()
                        ? host.look_closely(settings_of_interest(cascade_))
                        : host.look();
        seen.is_other_server = serves_other_directory(seen);
        if (options_.for_plan && seen.server && !seen.is_other_server && !node_.is_relay())
            seen.replication_login = try_login(*seen.server);
        return seen;
    }

  private:
    postgres::ConnectOptions connect_options() const {
        return {.name = node_.name, .timeout = options_.timeout, .stop_fd = options_.stop_fd};
    }

    void ask_server(NodeObservation& seen) const;
    ServerState ask(Connection& connection) const;
    bool serves_other_directory(const NodeObservation& seen) const;
    ReplicationLogin try_login(const ServerState& server) const;

    const Cascade& cascade_;
    const Node& node_;
    const ProbeOptions& options_;
};

ServerState NodeProbe::ask(Connection& connection) const {
    if (postgres::is_relay(connection) != node_.is_relay())
        throw LoginError(
            fmt::format("{}: at {}:{} {} answers, and {} says that it is {}", node_.name, node_.host,
                        node_.port, node_.is_relay() ? "a PostgreSQL server" : "a relay",
                        cascade_.file.string(), node_.is_relay() ? "a relay" : "a server"),
            "", "mend its host, its port or its kind in the file, or stop who answers there");
    if (node_.is_relay()) return observe_relay(connection);
    return observe(connection, cascade_.replication_user, settings_of_interest(cascade_));
}

void NodeProbe::ask_server(NodeObservation& seen) const {
    try {
        postgres::ConnectOptions options = connect_options();
        options.replication = replication_of(node_);
        Connection connection{cascade_.conninfo(node_), options};
        seen.server = ask(connection);
    } catch (const LoginError& problem) {
        seen.unreachable = {problem.what(), problem.hint()};
        seen.is_refused = true;
    } catch (const Stopped&) {
        throw;
    } catch (const postgres::NotReadyError& problem) {
        seen.unreachable = {problem.what(), problem.hint()};
        seen.is_starting = true;
    } catch (const Error& problem) {
        seen.unreachable = {problem.what(), problem.hint()};
    }
}

bool NodeProbe::serves_other_directory(const NodeObservation& seen) const {
    if (!seen.server || !seen.host.is_this_machine) return false;
    if (node_.is_relay()) return !seen.host.is_running && !seen.host.problem;
    if (seen.server->data_directory.empty()) return false;
    std::error_code error;
    return !std::filesystem::equivalent(seen.server->data_directory, node_.data_directory, error) || error;
}

// A downstream that streams through its slot has proven that it gets in: only where one does not, a login is
// tried, with what stands in its primary_conninfo.
ReplicationLogin NodeProbe::try_login(const ServerState& server) const {
    for (const Node* downstream : cascade_.downstreams(node_.name)) {
        const auto is_proven = [&](const std::string& name) {
            const postgres::Slot* slot = server.find_slot(name);
            return slot != nullptr && slot->active;
        };
        for (const Feed& feed : downstream->feeds) {
            if (is_proven(downstream->slot_of(feed))) continue;
            postgres::ConnectOptions options = connect_options();
            options.replication = postgres::Replication::kDatabase;
            const ReplicationLogin login =
                try_replication_login(cascade_.feed_conninfo(*downstream, feed), options);
            if (login.outcome != ReplicationLogin::Outcome::kWorks) return login;
        }
        if ((downstream->is_relay() && !downstream->wal) || is_proven(downstream->slot)) continue;
        return try_replication_login(cascade_.upstream_conninfo(*downstream), connect_options());
    }
    return {};
}

// ── what relays need ───────────────────────────────────────────────────────────────────────────────────

std::optional<RelaySources> ask_for_relays(const Cascade& cascade, const ProbeOptions& options) {
    const Node& primary = cascade.primary();
    const postgres::ConnectOptions login{
        .name = primary.name, .timeout = options.timeout, .stop_fd = options.stop_fd};
    try {
        Connection connection{cascade.conninfo(primary), login};
        return look_at_relay_sources(connection, cascade, login);
    } catch (const Stopped&) {
        throw;
    } catch (const Error&) {
        return std::nullopt;  // the primary's own observation tells why
    }
}

// ── the passfile ───────────────────────────────────────────────────────────────────────────────────────

Passfile look_at_passfile(const Cascade& cascade) {
    Passfile seen;
    if (!cascade.passfile) return seen;
    std::string content;
    try {
        content = read_file(*cascade.passfile);
    } catch (const SystemError& problem) {
        if (problem.error_number() != ENOENT)
            seen.problem = Problem{problem.what(), "run pgcascade as the account that owns it, or as root"};
        return seen;
    }
    const Node& primary = cascade.primary();
    const std::string port = std::to_string(primary.port);
    seen.has_user = find_password(content, {primary.host, port, cascade.dbname, cascade.user}).has_value();
    seen.has_replication_user =
        find_password(content, {primary.host, port, "replication", cascade.replication_user}).has_value();
    return seen;
}

}  // namespace

std::vector<std::string> settings_of_interest(const Cascade& cascade) {
    std::set<std::string> names = {"hot_standby",
                                   "hot_standby_feedback",
                                   "listen_addresses",
                                   "max_connections",
                                   "max_locks_per_transaction",
                                   "max_prepared_transactions",
                                   "max_replication_slots",
                                   "max_slot_wal_keep_size",
                                   "max_wal_senders",
                                   "max_worker_processes",
                                   "port",
                                   "primary_conninfo",
                                   "primary_slot_name",
                                   "unix_socket_directories",
                                   "wal_level"};
    for (const Node& node : cascade.nodes)
        for (const auto& [name, value] : node.settings) names.insert(name);
    return {names.begin(), names.end()};
}

ServerState observe(Connection& connection, const std::string& replication_user,
                    const std::vector<std::string>& setting_names) {
    ServerState state;
    observe_identity(connection, state);
    observe_receiver(connection, state);
    observe_downstreams(connection, state);
    state.slots = postgres::list_slots(connection);
    observe_settings(connection, setting_names, state);
    observe_role(connection, replication_user, state);
    observe_files(connection, state);
    return state;
}

ServerState observe_relay(Connection& relay) {
    ServerState state;
    const Result identity = relay.command("IDENTIFY_SYSTEM");
    state.in_recovery = true;
    state.system_identifier = std::stoull(std::string{identity.at(0, 0)});
    state.timeline = TimelineId{unsigned_integer(identity, 0, 1)};
    state.slots = postgres::list_slots(relay);
    state.relay = RelayState{postgres::list_feeds(relay), postgres::find_wal(relay)};
    if (state.relay->wal) state.received = state.relay->wal->received;
    // Without WAL, all that it has of every feed.
    for (const postgres::RelayFeed& feed : state.relay->feeds)
        if (!state.relay->wal && feed.received && (!state.received || *feed.received < *state.received))
            state.received = feed.received;
    for (postgres::RelaySession& session : postgres::list_sessions(relay)) {
        if (session.slot.empty()) continue;
        Downstream downstream;
        downstream.pid = session.pid;
        downstream.application_name = session.application_name;
        downstream.client_address = session.client;
        downstream.state = "streaming";
        downstream.slot = session.slot;
        downstream.written = session.written;
        downstream.flushed = session.flushed;
        downstream.replayed = session.applied;
        downstream.lag_bytes = session.lag_bytes;
        state.downstreams.push_back(std::move(downstream));
    }
    return state;
}

RelaySources look_at_relay_sources(Connection& primary, const Cascade& cascade,
                                   const postgres::ConnectOptions& options) {
    RelaySources sources;
    const Result roles =
        primary.query("SELECT rolname, coalesce(rolpassword, '') FROM pg_authid WHERE rolname IN ($1, $2)",
                      {cascade.user, cascade.replication_user});
    for (int row = 0; row < roles.rows(); ++row) sources.secrets.emplace(roles.at(row, 0), roles.at(row, 1));
    std::set<std::string> databases;
    for (const Node& node : cascade.nodes)
        for (const Feed& feed : node.feeds) databases.insert(feed.database);
    for (const std::string& name : databases) {
        if (primary.query("SELECT FROM pg_database WHERE datname = $1 AND datallowconn", {name}).rows() == 0)
            continue;
        Connection database{cascade.conninfo(cascade.primary()).with("dbname", name), options};
        const Result rows = database.query("SELECT pubname FROM pg_publication");
        std::set<std::string>& publications = sources.publications[name];
        for (int row = 0; row < rows.rows(); ++row) publications.emplace(rows.at(row, 0));
    }
    return sources;
}

ReplicationLogin try_replication_login(const postgres::Conninfo& conninfo, postgres::ConnectOptions options) {
    using Outcome = ReplicationLogin::Outcome;
    constexpr std::string_view kNoSuchDatabase = "3D000";
    if (options.replication == postgres::Replication::kNone)
        options.replication = postgres::Replication::kPhysical;
    try {
        const Connection connection{conninfo, options};
        return {Outcome::kWorks, {}};
    } catch (const Stopped&) {
        throw;
    } catch (const Error& problem) {
        // The server looks for the database only once it has let somebody in.
        const auto* refusal = dynamic_cast<const LoginError*>(&problem);
        if (refusal != nullptr && refusal->sqlstate() == kNoSuchDatabase) return {Outcome::kWorks, {}};
        const bool has_no_line =
            std::string_view{problem.what()}.find("no pg_hba.conf entry") != std::string_view::npos;
        return {has_no_line ? Outcome::kNoHbaLine : Outcome::kRefused, {problem.what(), problem.hint()}};
    }
}

Observation probe(const Cascade& cascade, const ProbeOptions& options) {
    std::map<std::string, std::future<NodeObservation>> answers;
    for (const Node& node : cascade.nodes)
        answers.emplace(node.name, std::async(std::launch::async, [&cascade, &node, &options] {
                            return NodeProbe{cascade, node, options}.run();
                        }));
    Observation observation;
    // Every thread is waited for, whichever fails: they hold references to what the caller owns.
    std::exception_ptr failure;
    for (auto& [name, answer] : answers) {
        try {
            observation.nodes.emplace(name, answer.get());
        } catch (...) {
            failure = std::current_exception();
        }
    }
    if (failure) std::rethrow_exception(failure);
    observation.passfile = look_at_passfile(cascade);
    if (options.for_plan && cascade.has_relays())
        observation.relay_sources = ask_for_relays(cascade, options);
    return observation;
}

}  // namespace pgcascade::tree
