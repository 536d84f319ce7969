#include "tree/step_runner.hpp"

#include <cerrno>

#include <fmt/format.h>

#include <pgcascade/error.hpp>

#include "base/clock.hpp"
#include "base/diagnostics.hpp"
#include "base/stop_signal.hpp"
#include "postgres/clone.hpp"
#include "postgres/slots.hpp"
#include "tree/node_state.hpp"
#include "tree/passfile.hpp"
#include "tree/probe.hpp"
#include "tree/relay_files.hpp"
#include "tree/setting_value.hpp"
#include "tree/stall_watch.hpp"

namespace pgcascade::tree {

using postgres::Connection;
using postgres::Conninfo;
using postgres::Result;

namespace {

constexpr int kLookMs = 200;
constexpr std::string_view kTooManyConnections = "53300";

// On a name as SQL has it, part by part: "auto_explain"."log_min_duration".
std::string setting_name(const std::string& name) {
    std::string quoted{'"'};
    for (const char letter : name) quoted += letter == '.' ? "\".\"" : std::string{letter};
    return quoted + '"';
}

void alter_system(Connection& connection, const std::string& name, const std::string& value) {
    connection.query(
        fmt::format("ALTER SYSTEM SET {} = {}", setting_name(name), alter_system_value(name, value)));
}

std::string escaped_identifier(Connection& connection, const std::string& name) {
    const std::unique_ptr<char, decltype(&PQfreemem)> text{
        PQescapeIdentifier(connection.native(), name.c_str(), name.size()), PQfreemem};
    if (!text) connection.throw_error(nullptr, "can't quote \"" + name + "\"");
    return text.get();
}

// The verifier and not the password goes to the server, so that no log can hold it.
std::string scram_verifier(Connection& connection, const std::string& role, const std::string& password) {
    const std::unique_ptr<char, decltype(&PQfreemem)> verifier{
        PQencryptPasswordConn(connection.native(), password.c_str(), role.c_str(), "scram-sha-256"),
        PQfreemem};
    if (!verifier) connection.throw_error(nullptr, "can't encrypt the password of " + role);
    return verifier.get();
}

std::string read_if_there(const std::filesystem::path& file) {
    try {
        return read_file(file);
    } catch (const SystemError& problem) {
        if (problem.error_number() == ENOENT) return {};
        throw;
    }
}

// What stands in primary_conninfo beside the address, such as sslmode, stays when a standby moves.
Conninfo moved(const Conninfo& current, const Conninfo& wanted) {
    Conninfo result = current.without("hostaddr").without("dbname");
    // A password within goes once there is a passfile.
    if (wanted.get("passfile")) result = result.without("password");
    for (const auto& [keyword, value] : wanted.pairs()) result = result.with(keyword, value);
    return result;
}

std::string system_identifier(Connection& node) {
    const Result answer =
        node.command(postgres::is_relay(node) ? "IDENTIFY_SYSTEM"
                                              : "SELECT system_identifier::text FROM pg_control_system()");
    return std::string{answer.at(0, 0)};
}

Lsn end_of_wal(Connection& node) {
    if (postgres::is_relay(node)) return observe_relay(node).received.value_or(Lsn{});
    return node
        .query(
            "SELECT CASE WHEN pg_is_in_recovery() THEN "
            "greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) "
            "ELSE pg_current_wal_flush_lsn() END")
        .lsn(0, 0)
        .value_or(Lsn{});
}

bool points_to(const Conninfo& conninfo, const Conninfo& wanted) {
    return is_same_machine_name(conninfo.get("host").value_or("localhost"),
                                wanted.get("host").value_or("")) &&
           conninfo.get("port").value_or("5432") == wanted.get("port");
}

}  // namespace

Host StepRunner::host(const std::string& node) const {
    return {cascade_, cascade_.node(node), options_.stop_fd};
}

postgres::ConnectOptions StepRunner::connect_options(const std::string& node) const {
    return {.name = node, .timeout = std::chrono::milliseconds{30'000}, .stop_fd = options_.stop_fd};
}

std::unique_ptr<Connection> StepRunner::connect(const std::string& node) const {
    if (cascade_.node(node).is_relay()) return connect_to_relay(cascade_.node(node));
    auto connection =
        std::make_unique<Connection>(cascade_.conninfo(cascade_.node(node)), connect_options(node));
    // With synchronous_standby_names, a commit would wait for standbys that are yet to be made.
    connection->query("SET synchronous_commit = local");
    return connection;
}

// It is no database: replication commands and SHOW are all that it takes.
std::unique_ptr<Connection> StepRunner::connect_to_relay(const Node& relay) const {
    postgres::ConnectOptions options = connect_options(relay.name);
    options.replication = replication_of(relay);
    return std::make_unique<Connection>(cascade_.conninfo(relay), options);
}

std::unique_ptr<Connection> StepRunner::connect_to_database(const Node& node,
                                                            const std::string& dbname) const {
    postgres::ConnectOptions options = connect_options(node.name);
    if (node.is_relay()) options.replication = postgres::Replication::kDatabase;
    return std::make_unique<Connection>(cascade_.conninfo(node).with("dbname", dbname), options);
}

std::optional<std::string> StepRunner::password_of(const std::string& role,
                                                   const std::string& database) const {
    if (!cascade_.passfile) return std::nullopt;
    const Node& primary = cascade_.primary();
    return find_password(read_if_there(*cascade_.passfile),
                         {primary.host, std::to_string(primary.port), database, role});
}

void StepRunner::wait_until(const std::string& what,
                            const std::function<std::optional<std::string>()>& look) const {
    StallWatch watch{options_.stall_timeout, steady_now()};
    for (;;) {
        std::optional<std::string> now;
        std::string hint;
        try {
            now = look();
        } catch (const ConnectionError& problem) {
            now = problem.what();
            hint = problem.hint();
        } catch (const LoginError& problem) {
            if (problem.sqlstate() != kTooManyConnections) throw;
            now = problem.what();
            hint = problem.hint();
        }
        if (!now) return;
        if (watch.is_stalled(*now, steady_now()))
            throw Error(fmt::format("{} within {} s: {}", what, options_.stall_timeout.count() / 1000, *now),
                        hint);
        wait_for(-1, 0, kLookMs, options_.stop_fd);
    }
}

// A reload is done by the postmaster when it gets to it; a new session has what the postmaster has.
void StepRunner::reload(const std::string& node) const {
    const auto connection = connect(node);
    const std::string before = connection->query("SELECT clock_timestamp()::text").text(0, 0).value_or("");
    connection->query("SELECT pg_reload_conf()");
    wait_until(node + " does not read its configuration again", [&]() -> std::optional<std::string> {
        if (connect(node)->query("SELECT pg_conf_load_time() >= $1::timestamptz", {before}).boolean(0, 0))
            return std::nullopt;
        return "it has the old one";
    });
}

// ── the primary ────────────────────────────────────────────────────────────────────────────────────────

void StepRunner::do_step(const WritePassfile& step) {
    std::string content = read_if_there(step.file);
    if (!content.empty() && content.back() != '\n') content += '\n';
    for (const std::string& role : step.roles) {
        const std::string database = role == cascade_.user ? cascade_.dbname : "replication";
        if (!password_of(role, database)) content += passfile_line(role, generate_password());
    }
    host(step.node).write_passfile(step.file, content);
}

void StepRunner::do_step(const CreateCluster& step) {
    const auto password = password_of(cascade_.user, cascade_.dbname);
    if (!password)
        throw ConfigError(fmt::format("the passfile has no password of {}", cascade_.user),
                          "add the line *:*:*:" + cascade_.user + ":PASSWORD to it");
    host(step.node)
        .new_server(std::nullopt)
        .init({.superuser = cascade_.user,
               .superuser_password = *password,
               .hba_lines = step.hba_lines,
               .settings = step.settings});
}

void StepRunner::do_step(const EnsureRole& step) {
    const auto connection = connect(step.node);
    const Result found = connection->query(
        "SELECT rolcanlogin AND (rolreplication OR rolsuper) FROM pg_roles WHERE rolname = $1", {step.role});
    const std::string name = escaped_identifier(*connection, step.role);
    if (found.rows() > 0) {
        if (!found.boolean(0, 0)) connection->query("ALTER ROLE " + name + " LOGIN REPLICATION");
        return;
    }
    std::string statement = "CREATE ROLE " + name + " LOGIN REPLICATION";
    if (const auto password = password_of(step.role, "replication"))
        statement += " PASSWORD '" + scram_verifier(*connection, step.role, *password) + "'";
    connection->query(statement);
}

void StepRunner::do_step(const AllowReplication& step) {
    const auto connection = connect(step.node);
    if (step.only_where_refused) {
        const Node* downstream = cascade_.downstreams(step.node).front();
        const ReplicationLogin login =
            try_replication_login(cascade_.upstream_conninfo(*downstream), connect_options(step.node));
        if (login.outcome != ReplicationLogin::Outcome::kNoHbaLine) return;
    }
    const std::string file =
        connection->query("SELECT current_setting('hba_file')").text(0, 0).value_or("pg_hba.conf");
    for (const std::string& line : step.lines) host(step.node).append_hba_line(file, line);
    const Result wrong = connection->query(
        "SELECT line_number, error FROM pg_hba_file_rules WHERE error IS NOT NULL ORDER BY line_number LIMIT "
        "1");
    if (wrong.rows() > 0)
        throw ConfigError(fmt::format("{}: line {} of {} is wrong, so the server does not read it: {}",
                                      step.node, wrong.at(0, 0), file, wrong.at(0, 1)),
                          "mend that line");
    reload(step.node);
}

// ── servers ────────────────────────────────────────────────────────────────────────────────────────────

void StepRunner::do_step(const Configure& step) {
    postgres::LocalServer server = host(step.node).server();
    server.check_settings(step.settings);
    server.write_settings(step.settings);
}

void StepRunner::do_step(const MakeStandby& step) {
    const Host standby = host(step.node);
    const Node& node = cascade_.node(step.node);
    if (standby.lacks_configuration())
        standby.add_missing_configuration(connect(cascade_.server_above(node).name)
                                              ->query("SELECT pg_read_file(current_setting('hba_file'))")
                                              .text(0, 0)
                                              .value_or(""));
    const Conninfo wanted = cascade_.upstream_conninfo(node);
    const postgres::Settings files = standby.server().read_settings();
    const auto current = files.find("primary_conninfo");
    postgres::Settings settings = step.settings;
    settings["primary_conninfo"] =
        moved(current != files.end() ? Conninfo::parse(current->second) : Conninfo{}, wanted).to_string();
    settings["primary_slot_name"] = step.slot;
    standby.make_standby(settings, step.removed);
}

void StepRunner::do_step(const StartServer& step) {
    const Node& node = cascade_.node(step.node);
    if (node.is_relay()) return host(step.node).relay().start(node.data_directory / kRelayFile);
    // A standby is waited for by the next step, which sees what keeps it from streaming.
    host(step.node).server().start(std::chrono::milliseconds{0});
}

void StepRunner::do_step(const StopServer& step) {
    if (cascade_.node(step.node).is_relay()) return host(step.node).relay().stop(options_.stall_timeout);
    host(step.node).server().stop();
}

void StepRunner::do_step(const RestartServer& step) {
    postgres::LocalServer server = host(step.node).server();
    server.restart(options_.stall_timeout);
}

void StepRunner::do_step(const WaitForServer& step) {
    wait_until(step.node + ": takes no connections", [&]() -> std::optional<std::string> {
        connect(step.node);
        return std::nullopt;
    });
}

void StepRunner::do_step(const SetSettings& step) {
    const auto connection = connect(step.node);
    for (const auto& [name, value] : step.settings) alter_system(*connection, name, value);
    reload(step.node);
}

// ── slots and clones ───────────────────────────────────────────────────────────────────────────────────

void StepRunner::do_step(const CreateSlot& step) {
    const auto connection = connect(step.node);
    const auto slot = postgres::find_slot(*connection, step.slot);
    if (slot && !slot->is_logical() && !slot->active &&
        (!slot->restart_lsn || slot->wal_status == "lost" || slot->is_invalidated()))
        postgres::drop_slot(*connection, {.name = step.slot});
    postgres::create_physical_slot(*connection, {.name = step.slot, .if_not_exists = true});
}

void StepRunner::do_step(const CreateFeedSlot& step) {
    const Node& node = cascade_.node(step.node);
    const auto connection = connect_to_database(node, step.database);
    postgres::create_logical_slot(
        *connection, cascade_.conninfo(node).with("dbname", step.database),
        {.name = step.slot,
         .if_not_exists = true,
         .primary = cascade_.conninfo(cascade_.primary()).with("dbname", step.database),
         .on_notice = [](const std::string& text) { diagnostics::info(text); }});
}

// A base backup of a standby begins at its last restartpoint, which may lie before what a relay below it has.
void StepRunner::renew_checkpoint(const std::string& standby) const {
    const auto server = connect(standby);
    if (server->query("SELECT pg_is_in_recovery()").boolean(0, 0))
        do_step(WaitReplayed{standby, cascade_.primary().name});
}

void StepRunner::do_step(const CloneNodes& step) {
    std::vector<postgres::CloneTarget> targets;
    for (const CloneNodes::Target& target : step.targets) targets.push_back(host(target.node).clone_target());
    const Node& first = cascade_.node(step.targets.front().node);
    if (*first.upstream != step.node) renew_checkpoint(step.node);
    const Conninfo source =
        cascade_.conninfo_as(first, cascade_.node(step.node)).with("application_name", "pgcascade");
    postgres::clone(
        source, targets,
        {.name = step.node, .stop_fd = options_.stop_fd, .on_progress = options_.on_clone_progress});
}

void StepRunner::do_step(const DropSlot& step) {
    wait_until(fmt::format("{}: slot {} is still used", step.node, step.slot),
               [&]() -> std::optional<std::string> {
                   const auto connection = connect(step.node);
                   const auto slot = postgres::find_slot(*connection, step.slot);
                   if (!slot) return std::nullopt;
                   if (slot->active) return fmt::format("by process {}", slot->active_pid);
                   postgres::drop_slot(*connection, {.name = step.slot, .if_exists = true});
                   return std::nullopt;
               });
}

// ── streaming ──────────────────────────────────────────────────────────────────────────────────────────

// Proof that the new upstream has all WAL that the standby still needs, and no less than the standby has.
void StepRunner::check_move(const StreamFrom& step) const {
    const auto standby = connect(step.node);
    const auto received = [&] {
        return standby->query("SELECT greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())")
            .lsn(0, 0)
            .value_or(Lsn{});
    };
    const auto upstream = connect(step.upstream);
    if (standby->query("SELECT system_identifier::text FROM pg_control_system()").at(0, 0) !=
        system_identifier(*upstream))
        throw ConfigError(fmt::format("{} and {} are not of one cluster", step.node, step.upstream));

    const auto slot = postgres::find_slot(*upstream, step.slot);
    if (!slot || !slot->restart_lsn)
        throw Error(fmt::format("{}: slot {} keeps no WAL for {}", step.upstream, step.slot, step.node));
    if (const Lsn has = received(); has < *slot->restart_lsn)
        throw Error(fmt::format("{} has WAL up to {} only, and {} keeps it from {} on", step.node,
                                has.to_string(), step.upstream, slot->restart_lsn->to_string()),
                    fmt::format("wait until {} has caught up with the upstream that it has now", step.node));

    // A standby that is ahead of its upstream would be refused until that has caught up.
    const Lsn has = received();
    wait_until(
        fmt::format("{} does not reach {}, which {} has already", step.upstream, has.to_string(), step.node),
        [&]() -> std::optional<std::string> {
            const Lsn end = end_of_wal(*upstream);
            if (has <= end) return std::nullopt;
            return "it is at " + end.to_string();
        });
}

void StepRunner::do_step(const StreamFrom& step) {
    check_move(step);
    const Node& node = cascade_.node(step.node);
    const auto standby = connect(step.node);
    const Conninfo wanted = cascade_.upstream_conninfo(node);
    const std::string text = standby->query("SHOW primary_conninfo").text(0, 0).value_or("");
    const Conninfo current = Conninfo::parse(text);
    // One that leads there already is its owner's, and only the slot is missing; where that is right too,
    // and the standby does not stream all the same, it is the connection string that is wrong.
    const bool has_slot = standby->query("SHOW primary_slot_name").at(0, 0) == step.slot;
    if (has_slot || !points_to(current, wanted))
        alter_system(*standby, "primary_conninfo", moved(current, wanted).to_string());
    alter_system(*standby, "primary_slot_name", step.slot);
    reload(step.node);
}

// Nothing once the upstream says that it serves the slot; `progress`: how far that is.
std::optional<std::string> StepRunner::why_not_sent(const WaitStreaming& step, std::string& progress) const {
    const auto upstream = connect(step.upstream);
    const auto slot = postgres::find_slot(*upstream, step.slot);
    if (!slot) throw Error(fmt::format("{} has no slot {} any more", step.upstream, step.slot));
    if (has_lost_its_wal(*slot))
        throw Error(fmt::format("{} has removed WAL that {} still needs", step.upstream, step.node),
                    fmt::format("stop {}, empty its data directory and clone it again", step.node));
    if (!slot->active) return progress = fmt::format("nobody uses slot {} on {}", step.slot, step.upstream);
    if (postgres::is_relay(*upstream)) {
        progress =
            fmt::format("{} keeps from {} on", step.upstream, slot->restart_lsn.value_or(Lsn{}).to_string());
        return std::nullopt;
    }
    const Result sender = upstream->query("SELECT state, sent_lsn FROM pg_stat_replication WHERE pid = $1",
                                          {std::to_string(slot->active_pid)});
    if (sender.rows() == 0)
        return progress = fmt::format("nobody uses slot {} on {}", step.slot, step.upstream);
    progress = fmt::format("{} has sent up to {}", step.upstream, sender.at(0, 1));
    if (sender.at(0, 0) == "streaming" || sender.at(0, 0) == "catchup") return std::nullopt;
    return progress;
}

// Nothing once both ends say that the standby streams; else how far it is.
std::optional<std::string> StepRunner::why_not_streaming(const WaitStreaming& step) const {
    std::string progress;
    const bool is_sent = !why_not_sent(step, progress);
    const std::string replay = host(step.node).replay_progress();
    if (!replay.empty()) progress += ", its process is \"" + replay + "\"";
    if (!is_sent) return progress;
    // While it is not consistent, it refuses each connection, and says so in its log.
    const Result receiver = connect(step.node)->query(
        "SELECT status = 'streaming' AND slot_name = $1, status FROM pg_stat_wal_receiver", {step.slot});
    if (receiver.rows() == 0) return progress + ", its walreceiver does not run";
    if (!receiver.boolean(0, 0)) return fmt::format("{}, its walreceiver is {}", progress, receiver.at(0, 1));
    return std::nullopt;
}

void StepRunner::do_step(const WaitStreaming& step) {
    const Host standby = host(step.node);
    try {
        wait_until(fmt::format("{} does not stream from {}", step.node, step.upstream), [&] {
            if (standby.is_this_machine() && !standby.is_server_running())
                throw Error(step.node + ": the server has ended");
            return why_not_streaming(step);
        });
    } catch (const Stopped&) {
        throw;
    } catch (const Error& problem) {
        if (!standby.is_this_machine()) throw;
        throw Error(fmt::format("{}\nthe log of {} ends:\n{}", problem.what(), step.node,
                                standby.server().log_tail()),
                    problem.hint());
    }
}

// ── relays ─────────────────────────────────────────────────────────────────────────────────────────────

std::string StepRunner::relay_users_content(const std::string& relay) const {
    const Node& primary = cascade_.primary();
    const auto connection = connect(primary.name);
    const auto secrets = look_at_relay_sources(*connection, cascade_, connect_options(primary.name)).secrets;
    for (const std::string& role : relay_users(cascade_))
        if (const auto found = secrets.find(role); found == secrets.end() || !is_scram_secret(found->second))
            throw ConfigError(fmt::format("{}: the role {} has no SCRAM-SHA-256 password, by which alone it "
                                          "could log in at {}",
                                          primary.name, role, relay),
                              fmt::format("give it one: \\password {}", role));
    return relay_users_file(cascade_, cascade_.node(relay), secrets);
}

void StepRunner::do_step(const WriteRelayFiles& step) {
    const Host place = host(step.node);
    const std::string users = relay_users_content(step.node);
    place.write_relay_file(relay_file(cascade_, cascade_.node(step.node)));
    place.write_relay_users(users);
}

void StepRunner::do_step(const WriteRelayUsers& step) {
    host(step.node).replace_relay_users(relay_users_content(step.node));
    // It reads them when it gets to it; until then it refuses a new password.
    wait_until(step.node + " does not read its users again", [&]() -> std::optional<std::string> {
        try {
            connect(step.node);
        } catch (const LoginError& refusal) {
            return refusal.what();
        }
        return std::nullopt;
    });
}

// While it still receives from the old upstream: what it lacks then nobody would send it.
void StepRunner::do_step(const WaitReceived& step) {
    const Node& relay = cascade_.node(step.node);
    const auto lacks = [](const std::string& what, std::optional<Lsn> has, std::optional<Lsn> kept_from) {
        if (!kept_from || *kept_from <= has.value_or(Lsn{})) return std::string{};
        return fmt::format("{} is at {}, before {}", what, has.value_or(Lsn{}).to_string(),
                           kept_from->to_string());
    };
    wait_until(fmt::format("{} does not receive what {} does not keep for it", step.node, step.upstream),
               [&]() -> std::optional<std::string> {
                   const RelayState here = observe_relay(*connect(step.node)).relay.value();
                   const auto upstream = connect(step.upstream);
                   for (const Feed& feed : relay.feeds) {
                       const auto slot = postgres::find_slot(*upstream, relay.slot_of(feed));
                       const postgres::RelayFeed* received = here.find_feed(feed.name);
                       if (!slot || received == nullptr) continue;
                       const std::string text =
                           lacks("feed " + feed.name, received->durable, slot->confirmed_flush_lsn);
                       if (!text.empty()) return text;
                   }
                   const auto slot = postgres::find_slot(*upstream, relay.slot);
                   if (!slot || !relay.wal || !here.wal) return std::nullopt;
                   const std::string text = lacks("the WAL", here.wal->durable, slot->restart_lsn);
                   return text.empty() ? std::nullopt : std::optional{text};
               });
}

std::optional<std::string> StepRunner::why_not_receiving(const WaitRelay& step) const {
    const Node& relay = cascade_.node(step.node);
    const RelayState here = observe_relay(*connect(step.node)).relay.value();
    if (relay.wal && !here.wal) throw Error("it relays no WAL");
    if (relay.wal && !here.wal->problem.empty()) return "the WAL: " + here.wal->problem;
    for (const Feed& feed : relay.feeds) {
        const postgres::RelayFeed* received = here.find_feed(feed.name);
        if (received == nullptr) throw Error(fmt::format("it has no feed {}", feed.name));
        if (!received->problem.empty()) return fmt::format("feed {}: {}", feed.name, received->problem);
        if (!received->received) return fmt::format("feed {} has received nothing", feed.name);
    }
    const auto upstream = connect(step.upstream);
    for (const std::string& name : relay.slots()) {
        const auto slot = postgres::find_slot(*upstream, name);
        if (!slot) throw Error(fmt::format("{} has no slot {} any more", step.upstream, name));
        if (!slot->active) return fmt::format("it does not use its slot {} on {} yet", name, step.upstream);
    }
    return std::nullopt;
}

void StepRunner::do_step(const WaitRelay& step) {
    const Host place = host(step.node);
    try {
        wait_until(fmt::format("{} does not receive from {}", step.node, step.upstream), [&] {
            if (place.is_this_machine() && !place.is_server_running())
                throw Error(step.node + ": the relay has ended");
            return why_not_receiving(step);
        });
    } catch (const Stopped&) {
        throw;
    } catch (const Error& problem) {
        if (!place.is_this_machine()) throw;
        throw Error(
            fmt::format("{}\nthe log of {} ends:\n{}", problem.what(), step.node, place.relay().log_tail()),
            problem.hint());
    }
}

// ── replaying ──────────────────────────────────────────────────────────────────────────────────────────

void StepRunner::do_step(const WaitReplayed& step) const {
    const auto primary = connect(step.primary);
    primary->set_timeout(std::chrono::milliseconds{0});
    primary->query("CHECKPOINT");
    const Lsn target = primary->query("SELECT pg_current_wal_flush_lsn()").lsn(0, 0).value_or(Lsn{});
    wait_until(fmt::format("{} does not replay up to {}", step.node, target.to_string()),
               [&]() -> std::optional<std::string> {
                   const Lsn replayed =
                       connect(step.node)->query("SELECT pg_last_wal_replay_lsn()").lsn(0, 0).value_or(Lsn{});
                   if (target <= replayed) return std::nullopt;
                   return "it is at " + replayed.to_string();
               });
    // Its next start then begins behind the record that lowered the settings.
    const auto standby = connect(step.node);
    standby->set_timeout(std::chrono::milliseconds{0});
    standby->query("CHECKPOINT");
}

}  // namespace pgcascade::tree
