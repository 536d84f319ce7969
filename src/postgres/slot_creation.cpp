#include <exception>
#include <memory>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "base/clock.hpp"
#include "postgres/relay_server.hpp"
#include "postgres/slots.hpp"
#include "postgres/upstream.hpp"
#include "protocol/replication_command.hpp"

// Creating a logical slot ends once the server has read a record of the running transactions
// (xl_running_xacts) from the WAL, and those transactions are over; see replication/logical/snapbuild.c. A
// primary writes that record itself when asked for a slot. A standby can only wait for the primary to write
// one, which an idle primary never does: pg_log_standby_snapshot() on the primary makes it.

namespace pgcascade::postgres {

using std::chrono::milliseconds;

namespace {

constexpr int kStandbyDecodingSince = 160000;
constexpr int kFailoverSince = 170000;

constexpr milliseconds kLookInterval{50};

// A record before the slot has reserved its WAL is of no use, so one request is not enough. Doubled up to the
// second: where old transactions delay the slot, a record is wanted each time that one of them ends.
constexpr milliseconds kFirstRequestInterval{100};
constexpr milliseconds kLongestRequestInterval{1'000};

// A busy primary writes the record by itself, so that a primary that can't be asked is no failure yet.
constexpr milliseconds kGraceWithoutPrimary{3'000};

constexpr milliseconds kExplainAfter{2'000};
constexpr milliseconds kExplainInterval{10'000};
constexpr milliseconds kUndoPatience{5'000};

// The server's refusal, with the hint that it does not give itself.
[[noreturn]] void rethrow_refusal(Connection& connection, const std::string& slot,
                                  const ServerError& refusal) {
    std::string hint = refusal.hint();
    if (refusal.sqlstate() == "42501") {
        const Result role = connection.command("SELECT current_user");
        hint = fmt::format("on the primary: ALTER ROLE {} REPLICATION",
                           protocol::quote_identifier(role.at(0, 0)));
    } else if (refusal.sqlstate() == "42710") {
        hint = fmt::format(
            "keep it with --if-not-exists, choose another name, or drop it: SELECT "
            "pg_drop_replication_slot({})",
            connection.literal(slot));
    } else if (refusal.sqlstate() == "53400") {
        hint =
            "drop slots that nobody needs (pgcascade slot list), or raise max_replication_slots (needs a "
            "restart)";
    }
    throw ServerError(refusal.what(), refusal.sqlstate(), hint);
}

[[noreturn]] void throw_exists_otherwise(const Connection& connection, const std::string& slot,
                                         const std::string& how) {
    throw ServerError(
        fmt::format("{}: slot \"{}\" exists already, and {}", connection.name(), slot, how), "42710",
        fmt::format("choose another name, or drop it: SELECT pg_drop_replication_slot('{}')", slot));
}

// True where the slot is there and is what is wanted.
bool exists_as_wanted(Connection& connection, const LogicalSlotOptions& wanted) {
    const std::optional<Slot> slot = find_slot(connection, wanted.name);
    if (!slot) return false;
    const std::string database = PQdb(connection.native());
    if (!slot->is_logical()) throw_exists_otherwise(connection, wanted.name, "is physical");
    if (slot->plugin != wanted.plugin)
        throw_exists_otherwise(connection, wanted.name, "uses the plugin " + slot->plugin);
    if (slot->database != database)
        throw_exists_otherwise(connection, wanted.name, "belongs to database " + slot->database);
    if (slot->is_invalidated())
        throw_exists_otherwise(connection, wanted.name, "is invalidated (" + slot->invalidation_reason + ")");
    return true;
}

void check_primary_can_decode(Connection& primary, const Connection& standby) {
    const Result wal_level = primary.command("SELECT current_setting('wal_level')");
    if (wal_level.at(0, 0) == "logical") return;
    throw ServerError(
        fmt::format("{}: wal_level is {} on the primary, and decoding on its standby {} needs logical there",
                    primary.name(), wal_level.at(0, 0), standby.name()),
        "55000", "on the primary: ALTER SYSTEM SET wal_level = logical, then restart it");
}

void check_can_decode(Connection& server, bool on_standby) {
    if (on_standby && server.server_version() < kStandbyDecodingSince)
        throw ServerError(
            fmt::format("{} is a standby of PostgreSQL {}: before 16 a standby can't decode changes",
                        server.name(), server.parameter("server_version")),
            "0A000", "make the slot on the primary, or upgrade the cluster to PostgreSQL 16 or later");
    const Result wal_level = server.command("SELECT current_setting('wal_level')");
    if (wal_level.at(0, 0) == "logical") return;
    throw ServerError(
        fmt::format("{}: wal_level is {}, and decoding needs logical", server.name(), wal_level.at(0, 0)),
        "55000",
        on_standby
            ? "on the primary and on this standby: ALTER SYSTEM SET wal_level = logical, then restart both"
            : "ALTER SYSTEM SET wal_level = logical, then restart the server");
}

void check_options(Connection& connection, const LogicalSlotOptions& options, bool on_standby) {
    if (!options.failover) return;
    if (connection.server_version() < kFailoverSince)
        throw ServerError(fmt::format("{} runs PostgreSQL {}: failover slots need 17", connection.name(),
                                      connection.parameter("server_version")),
                          "0A000", "leave --failover out");
    if (on_standby)
        throw ServerError(
            connection.name() + " is a standby: a failover slot can only be made on the primary", "0A000",
            "make it on the primary, and set sync_replication_slots = on here to have a copy of it");
}

// Everything around the one statement that may take long.
class LogicalSlotCreation {
  public:
    LogicalSlotCreation(Connection& connection, const Conninfo& conninfo, const LogicalSlotOptions& options,
                        bool on_standby)
        : connection_(connection), conninfo_(conninfo), options_(options), on_standby_(on_standby) {}

    void run();

  private:
    std::string statement() const;
    void find_primary();
    void look_after();
    void request_snapshot();
    void explain();
    std::string open_transactions();
    void primary_failed(const Error& problem);
    void throw_without_primary() const;
    void undo();
    // The server has answered; what was thrown while it had not comes from look_after().
    bool is_over() const { return PQtransactionStatus(connection_.native()) != PQTRANS_ACTIVE; }
    void notice(const std::string& text) const {
        if (options_.on_notice) options_.on_notice(text);
    }

    Connection& connection_;
    const Conninfo& conninfo_;
    const LogicalSlotOptions& options_;
    bool on_standby_;

    ServerAtConninfo primary_;  // or, on a primary, a second connection to it, made when there is need
    std::optional<Error> primary_failure_;

    SteadyTime next_request_;
    SteadyTime next_explanation_ = steady_now() + kExplainAfter;
    SteadyTime grace_ends_;  // with primary_failure_
    milliseconds request_interval_ = kFirstRequestInterval;
};

std::string LogicalSlotCreation::statement() const {
    return fmt::format("SELECT pg_create_logical_replication_slot({}, {}, {}, {}{})",
                       connection_.literal(options_.name), connection_.literal(options_.plugin),
                       options_.temporary, options_.two_phase, options_.failover ? ", true" : "");
}

void LogicalSlotCreation::run() {
    if (on_standby_) find_primary();
    // If this process dies while it waits, the server notices within a second, and drops the unfinished slot.
    connection_.command("SET client_connection_check_interval = '1s'; SET statement_timeout = 0");
    try {
        connection_.command(statement(), kLookInterval, [this] { look_after(); });
    } catch (const ServerError& problem) {
        if (is_over()) rethrow_refusal(connection_, options_.name, problem);
        undo();
        throw;
    } catch (...) {
        undo();
        throw;
    }
    connection_.command("RESET client_connection_check_interval; RESET statement_timeout");
}

void LogicalSlotCreation::find_primary() {
    if (options_.primary) {
        primary_ = connect_to_named_primary(connection_, *options_.primary);
    } else {
        try {
            primary_ = connect_to_primary(connection_, conninfo_);
        } catch (const Stopped&) {
            throw;
        } catch (const Error& problem) {
            primary_failed(problem);
            return;
        }
    }
    check_primary_can_decode(*primary_.connection, connection_);
}

void LogicalSlotCreation::look_after() {
    const SteadyTime time = steady_now();
    if (on_standby_ && !primary_failure_ && time >= next_request_) request_snapshot();
    if (primary_failure_ && time >= grace_ends_) throw_without_primary();
    if (time >= next_explanation_) explain();
}

void LogicalSlotCreation::request_snapshot() {
    try {
        primary_.connection->command("SELECT pg_log_standby_snapshot()");
    } catch (const Stopped&) {
        throw;
    } catch (const Error& problem) {
        primary_failed(problem);
    }
    next_request_ = steady_now() + request_interval_;
    request_interval_ = std::min(request_interval_ * 2, kLongestRequestInterval);
}

void LogicalSlotCreation::primary_failed(const Error& problem) {
    primary_failure_.emplace(problem);
    grace_ends_ = steady_now() + kGraceWithoutPrimary;
    notice(fmt::format("the primary can't be asked for a snapshot record ({}); waiting a little for one",
                       problem.what()));
}

void LogicalSlotCreation::throw_without_primary() const {
    throw ServerError(
        fmt::format(
            "{}: creating slot \"{}\" waits for a snapshot record in the primary's WAL, and the primary "
            "can't be asked for one: {}",
            connection_.name(), options_.name, primary_failure_->what()),
        "55000",
        "while the slot is being created, run on the primary: SELECT pg_log_standby_snapshot(). So that it "
        "is done for you: GRANT EXECUTE ON FUNCTION pg_log_standby_snapshot() TO the role, or name the "
        "primary with --primary CONNINFO" +
            (primary_failure_->hint().empty() ? "" : " (" + primary_failure_->hint() + ")"));
}

void LogicalSlotCreation::explain() {
    next_explanation_ = steady_now() + kExplainInterval;
    const std::string open = open_transactions();
    if (open.empty() && on_standby_)
        notice(fmt::format("slot \"{}\" is there once {} has replayed the primary's snapshot record",
                           options_.name, connection_.name()));
    else
        notice(fmt::format("slot \"{}\" is there once the transactions that were open before have ended{}",
                           options_.name, open.empty() ? "" : ": " + open));
}

// As far as this role may see them.
std::string LogicalSlotCreation::open_transactions() {
    try {
        if (!primary_.connection && !on_standby_)
            primary_.connection = std::make_unique<Connection>(
                connection_.pinned(conninfo_),
                ConnectOptions{.name = connection_.name(), .stop_fd = connection_.stop_fd()});
        if (!primary_.connection) return "";
        const Result open = primary_.connection->command(
            "SELECT coalesce(string_agg(what, ', '), '') FROM (SELECT format('pid %s (%s, %s since %s)', pid,"
            " usename, state, xact_start::timestamptz(0)) FROM pg_catalog.pg_stat_activity"
            " WHERE backend_xid IS NOT NULL UNION ALL SELECT format('prepared transaction %L', gid)"
            " FROM pg_catalog.pg_prepared_xacts LIMIT 5) AS open (what)");
        return std::string{open.at(0, 0)};
    } catch (const Stopped&) {
        throw;
    } catch (const Error& problem) {
        return problem.what();
    }
}

// The server drops an unfinished slot when the statement is cancelled; one that was finished just then is
// dropped here.
void LogicalSlotCreation::undo() {
    if (PQstatus(connection_.native()) != CONNECTION_OK) return;  // the server ends the session, and the slot
    try {
        const CleaningUp cleaning_up{connection_, kUndoPatience};
        if (connection_.cancel())
            connection_.command("SELECT pg_drop_replication_slot(" + connection_.literal(options_.name) +
                                ")");
    } catch (const Error& problem) {
        notice(fmt::format("slot \"{}\" may be left behind: {}", options_.name, problem.what()));
    }
}

void warn_of_feedback(Connection& standby, const LogicalSlotOptions& options) {
    if (!options.on_notice) return;
    const Result feedback = standby.command("SELECT current_setting('hot_standby_feedback')");
    if (feedback.at(0, 0) == "on") return;
    options.on_notice(
        fmt::format("{}: hot_standby_feedback is off: slot \"{}\" is invalidated as soon as the primary "
                    "removes catalog rows "
                    "that it needs; ALTER SYSTEM SET hot_standby_feedback = on; SELECT pg_reload_conf();",
                    standby.name(), options.name));
}

// A relay is no database: it has no function for it.
void create_physical_on_relay(Connection& connection, const PhysicalSlotOptions& options) {
    protocol::CreateReplicationSlot command;
    command.slot = options.name;
    command.temporary = options.temporary;
    command.options = {{"reserve_wal", std::nullopt}};
    connection.command(to_string(command));
}

// It is consistent at any time, and has no snapshot to wait for.
void create_logical_on_relay(Connection& connection, const LogicalSlotOptions& options) {
    protocol::CreateReplicationSlot command{.slot = options.name,
                                            .temporary = options.temporary,
                                            .plugin = options.plugin,
                                            .options = {{"snapshot", "nothing"}}};
    if (options.two_phase) command.options.push_back({"two_phase", std::nullopt});
    if (options.failover) command.options.push_back({"failover", std::nullopt});
    connection.command(to_string(command));
}

}  // namespace

bool create_physical_slot(Connection& connection, const PhysicalSlotOptions& options) {
    if (options.if_not_exists) {
        if (const auto slot = find_slot(connection, options.name)) {
            if (slot->is_logical()) throw_exists_otherwise(connection, options.name, "is logical");
            if (slot->is_invalidated())
                throw_exists_otherwise(connection, options.name,
                                       "is invalidated (" + slot->invalidation_reason + ")");
            return false;
        }
    }
    if (is_relay(connection)) {
        create_physical_on_relay(connection, options);
        return true;
    }
    try {
        connection.command(fmt::format("SELECT pg_create_physical_replication_slot({}, true, {})",
                                       connection.literal(options.name), options.temporary));
    } catch (const ServerError& refusal) {
        rethrow_refusal(connection, options.name, refusal);
    }
    return true;
}

bool create_logical_slot(Connection& connection, const Conninfo& conninfo,
                         const LogicalSlotOptions& options) {
    if (is_relay(connection)) {
        if (options.if_not_exists && exists_as_wanted(connection, options)) return false;
        create_logical_on_relay(connection, options);
        return true;
    }
    const bool on_standby = is_in_recovery(connection);
    check_options(connection, options, on_standby);
    check_can_decode(connection, on_standby);
    if (options.if_not_exists && exists_as_wanted(connection, options)) return false;
    LogicalSlotCreation{connection, conninfo, options, on_standby}.run();
    if (on_standby) warn_of_feedback(connection, options);
    return true;
}

}  // namespace pgcascade::postgres
