#include "postgres/slots.hpp"

#include <fmt/format.h>

#include "base/stop_signal.hpp"
#include "postgres/relay_server.hpp"
#include "protocol/replication_command.hpp"

namespace pgcascade::postgres {

namespace {

constexpr int kConflictingSince = 160000;
constexpr int kFailoverSince = 170000;

// How often a slot in use is tried again.
constexpr int kDropRetryIntervalMs = 100;

// A relay gives these columns, too: SHOW pgcascade.slots.
//
// Every version gives the same columns. A standby counts from what it has received: its own walsenders may
// not have sent all of it yet.
std::string slots_query(int server_version) {
    const bool has_failover = server_version >= kFailoverSince;
    const char* conflicting = server_version >= kConflictingSince ? "coalesce(conflicting, false)" : "false";
    return fmt::format(
        "SELECT slot_name, slot_type = 'logical', coalesce(plugin, ''), coalesce(database, ''), temporary, "
        "active,"
        " coalesce(active_pid, 0), restart_lsn, confirmed_flush_lsn, coalesce(wal_status, ''), safe_wal_size,"
        " greatest(0, CASE WHEN pg_is_in_recovery()"
        " THEN greatest(pg_last_wal_replay_lsn(), pg_last_wal_receive_lsn())"
        " ELSE pg_current_wal_insert_lsn() END - restart_lsn)::int8,"
        " coalesce(two_phase, false), {}, {}"
        " FROM pg_catalog.pg_replication_slots",
        conflicting,
        has_failover ? "coalesce(invalidation_reason, ''), failover, synced, inactive_since IS NOT NULL,"
                       " to_char(inactive_since AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'),"
                       " extract(epoch FROM now() - inactive_since)::int8"
                     : "'', false, false, false, '', 0");
}

// 15 and 16 give no reason. 16 calls every invalidated logical slot conflicting and lost; only where WAL was
// removed does it clear restart_lsn (slot.c, InvalidatePossiblyObsoleteSlot).
std::string invalidation_reason(const Slot& slot, bool conflicting, std::string reason) {
    if (!reason.empty()) return reason;
    if (conflicting && slot.restart_lsn) return "conflicting";
    return conflicting || slot.wal_status == "lost" ? "wal_removed" : "";
}

Slot read_slot(const Result& result, int row) {
    Slot slot;
    slot.name = result.at(row, 0);
    slot.type = result.boolean(row, 1) ? Slot::Type::kLogical : Slot::Type::kPhysical;
    slot.plugin = result.at(row, 2);
    slot.database = result.at(row, 3);
    slot.temporary = result.boolean(row, 4);
    slot.active = result.boolean(row, 5);
    slot.active_pid = static_cast<int>(result.integer(row, 6));
    slot.restart_lsn = result.lsn(row, 7);
    slot.confirmed_flush_lsn = result.lsn(row, 8);
    slot.wal_status = result.at(row, 9);
    if (!result.is_null(row, 10)) slot.safe_wal_size = result.integer(row, 10);
    if (slot.restart_lsn && !result.is_null(row, 11)) slot.retained_bytes = result.integer(row, 11);
    slot.two_phase = result.boolean(row, 12);
    slot.invalidation_reason =
        invalidation_reason(slot, result.boolean(row, 13), std::string{result.at(row, 14)});
    slot.failover = result.boolean(row, 15);
    slot.synced = result.boolean(row, 16);
    if (result.boolean(row, 17)) {
        slot.inactive_since = result.at(row, 18);
        slot.inactive_for = std::chrono::seconds{result.integer(row, 19)};
    }
    return slot;
}

std::string drop_statement(std::string_view slot) {
    return fmt::format("SELECT pg_drop_replication_slot('{}')", slot);
}

// The one who uses the slot, as far as this role may see it: "pid 4711 (eu-1, from 10.0.1.1)".
std::string user_of_slot(Connection& connection, const std::string& name) {
    if (is_relay(connection)) return "";
    const Result result = connection.command(
        "SELECT s.active_pid, coalesce(nullif(a.application_name, ''), 'no application name'),"
        " coalesce(host(a.client_addr), 'a local socket')"
        " FROM pg_catalog.pg_replication_slots s LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = "
        "s.active_pid"
        " WHERE s.active_pid IS NOT NULL AND s.slot_name = " +
        connection.literal(name));
    if (result.rows() == 0) return "";
    return fmt::format("pid {} ({}, from {})", result.at(0, 0), result.at(0, 1), result.at(0, 2));
}

[[noreturn]] void throw_unusable(const Slot& slot, const SlotReader& reader, const std::string& problem,
                                 const char* sqlstate, const std::string& hint) {
    throw ServerError(fmt::format("{}: slot \"{}\" {}", reader.server, slot.name, problem), sqlstate, hint);
}

std::string invalidation_cause(const std::string& reason) {
    if (reason == "wal_removed") return "WAL that it needs was removed (max_slot_wal_keep_size)";
    if (reason == "rows_removed")
        return "the primary removed catalog rows that it needs (hot_standby_feedback off, or no physical "
               "slot)";
    if (reason == "wal_level_insufficient") return "wal_level on the primary fell below logical";
    if (reason == "idle_timeout") return "nobody used it for idle_replication_slot_timeout";
    if (reason == "diverged")
        return "transactions that were read through it were lost when the relay's upstream was failed over";
    return "it conflicted with recovery: the primary removed catalog rows that it needs, or lowered "
           "wal_level";
}

}  // namespace

std::vector<Slot> list_slots(Connection& connection) {
    const Result result = connection.command(is_relay(connection) ? "SHOW pgcascade.slots"
                                                                  : slots_query(connection.server_version()) +
                                                                        " ORDER BY slot_name");
    std::vector<Slot> slots;
    for (int row = 0; row < result.rows(); ++row) slots.push_back(read_slot(result, row));
    return slots;
}

std::optional<Slot> find_slot(Connection& connection, std::string_view name) {
    for (Slot& slot : list_slots(connection))
        if (slot.name == name) return std::move(slot);
    return std::nullopt;
}

void check_slot_usable_for_pgoutput(const Slot& slot, const SlotReader& reader) {
    if (!slot.is_logical())
        throw_unusable(slot, reader, "is physical: it can't give decoded changes", "55000",
                       "use a logical slot of another name (--create-slot makes it)");
    if (slot.plugin != "pgoutput")
        throw_unusable(slot, reader, fmt::format("uses the output plugin {}, not pgoutput", slot.plugin),
                       "55000",
                       "a slot's plugin can't be changed: use a slot made with pgoutput, or drop this one (" +
                           drop_statement(slot.name) + ") and make it again");
    if (slot.database != reader.database)
        throw_unusable(slot, reader,
                       fmt::format("belongs to database \"{}\", and the connection is to \"{}\"",
                                   slot.database, reader.database),
                       "55000",
                       fmt::format("connect with dbname={}, or use a slot of this database", slot.database));
    if (slot.is_invalidated())
        throw_unusable(
            slot, reader,
            fmt::format("is invalidated for good ({}): {}", slot.invalidation_reason,
                        invalidation_cause(slot.invalidation_reason)),
            "55000",
            fmt::format("{}; make it again, and copy the tables anew: the changes between are lost",
                        drop_statement(slot.name)));
    if (slot.synced && reader.on_standby)
        throw_unusable(slot, reader,
                       "is a synchronized copy of the primary's slot: it can't be used before promotion",
                       "55000", "use a slot of its own on this standby, or read the slot on the primary");
    if (slot.active)
        throw_unusable(
            slot, reader, fmt::format("is in use by pid {}", slot.active_pid), "55006",
            fmt::format("stop the other reader, or: SELECT pg_terminate_backend({})", slot.active_pid));
}

Slot slot_for_pgoutput(Connection& connection, std::string_view name) {
    std::optional<Slot> slot = find_slot(connection, name);
    if (!slot)
        throw ServerError(fmt::format("{}: there is no slot \"{}\"", connection.name(), name), "42704",
                          "list them with: pgcascade slot list; make it with --create-slot (in relay.toml: "
                          "create_slot = true), or: "
                          "pgcascade slot create");
    // A temporary slot counts as in use as long as the session that made it lives.
    if (slot->temporary && slot->active_pid == PQbackendPID(connection.native())) {
        slot->active = false;
        slot->active_pid = 0;
    }
    SlotReader reader{.server = connection.name(), .database = PQdb(connection.native())};
    if (!is_relay(connection))
        reader.on_standby = connection.command("SELECT pg_is_in_recovery()").boolean(0, 0);
    check_slot_usable_for_pgoutput(*slot, reader);
    return std::move(*slot);
}

bool drop_slot(Connection& connection, const DropSlotOptions& options) {
    for (;;) {
        if (!find_slot(connection, options.name)) {
            if (options.if_exists) return false;
            throw ServerError(fmt::format("{}: there is no slot \"{}\"", connection.name(), options.name),
                              "42704", "list them with: pgcascade slot list");
        }
        try {
            if (is_relay(connection))
                connection.command(to_string(protocol::DropReplicationSlot{.slot = options.name}));
            else
                connection.command("SELECT pg_drop_replication_slot(" + connection.literal(options.name) +
                                   ")");
            return true;
        } catch (const ServerError& problem) {
            if (problem.sqlstate() == "42704") continue;  // somebody else was quicker
            if (problem.sqlstate() != "55006") throw;
            if (!options.wait) {
                const std::string user = user_of_slot(connection, options.name);
                throw ServerError(fmt::format("{}: slot \"{}\" is in use{}", connection.name(), options.name,
                                              user.empty() ? "" : " by " + user),
                                  "55006", "stop its consumer first, or wait for its end with --wait");
            }
        }
        wait_for(-1, 0, kDropRetryIntervalMs, connection.stop_fd());
    }
}

}  // namespace pgcascade::postgres
