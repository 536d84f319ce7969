#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <pgcascade/lsn.hpp>

#include "postgres/connection.hpp"
#include "postgres/conninfo.hpp"

// The replication slots of a server: to list, make, check and drop them. Every function takes an ordinary
// connection or one with Replication::kDatabase, and throws ServerError, ConnectionError or Stopped beside
// what it names. Source: PostgreSQL manual, pg_replication_slots; the columns differ by version, 15 to 18.

namespace pgcascade::postgres {

struct Slot {
    enum class Type { kPhysical, kLogical };

    std::string name;
    Type type = Type::kPhysical;
    std::string plugin;    // logical
    std::string database;  // logical
    bool temporary = false;
    bool active = false;
    int active_pid = 0;  // the backend that uses it; 0: none
    std::optional<Lsn> restart_lsn;
    std::optional<Lsn> confirmed_flush_lsn;  // logical
    std::string wal_status;  // reserved, extended, unreserved or lost; empty where it reserves nothing
    std::optional<std::int64_t> safe_wal_size;   // bytes left until it is lost; nothing: no limit
    std::optional<std::int64_t> retained_bytes;  // of WAL that only a restart_lsn that far back keeps
    bool two_phase = false;

    // Why it can never be used again; empty while it can. From 17 on in the server's words (wal_removed,
    // rows_removed, wal_level_insufficient, idle_timeout); before, wal_removed or, on 16, conflicting.
    std::string invalidation_reason;
    std::string inactive_since;                        // 17: ISO 8601 in UTC; empty while active
    std::optional<std::chrono::seconds> inactive_for;  // 17
    bool failover = false;                             // 17
    bool synced = false;                               // 17: a copy of the primary's slot, on a standby

    bool is_logical() const { return type == Type::kLogical; }
    bool is_invalidated() const { return !invalidation_reason.empty(); }
};

// By name.
std::vector<Slot> list_slots(Connection& connection);
std::optional<Slot> find_slot(Connection& connection, std::string_view name);

// The slot, fit for START_REPLICATION … LOGICAL with pgoutput on this connection, or a ServerError that says
// what is wrong with it and what to do: missing (SQLSTATE 42704), physical, of another plugin or database,
// invalidated or synced (55000), in use by another session (55006: this one may heal by itself).
Slot slot_for_pgoutput(Connection& connection, std::string_view name);

// The part of slot_for_pgoutput that needs no server.
struct SlotReader {
    std::string server;  // its name, for messages
    std::string database;
    bool on_standby = false;
};
void check_slot_usable_for_pgoutput(const Slot& slot, const SlotReader& reader);

struct PhysicalSlotOptions {
    std::string name = {};
    bool if_not_exists = false;
    bool temporary = false;
};

// Reserves WAL at once. Returns false where `if_not_exists` found a physical slot of that name; a logical one
// is an error.
bool create_physical_slot(Connection& connection, const PhysicalSlotOptions& options);

struct LogicalSlotOptions {
    std::string name = {};
    std::string plugin = "pgoutput";
    bool if_not_exists = false;
    bool temporary = false;
    bool two_phase = false;
    bool failover = false;  // 17, on a primary

    // For a standby, where creation waits until the primary logs a snapshot: who the primary is. Nothing: it
    // is found by following pg_stat_wal_receiver up the chain, with the user and password of the connection.
    std::optional<Conninfo> primary = {};

    // Told what a person waiting would want to know. May be null.
    std::function<void(const std::string& text)> on_notice = {};
};

// Creates the slot, on a primary or a standby, in the database of the connection. On a standby everything
// that would make it fail or hang is checked first (version, wal_level here and on the primary), and the
// primary is asked for the snapshot that creation waits for, so that an idle primary delays nothing.
// `conninfo` is what `connection` was made from: the primary is reached with the same user. Returns false
// where `if_not_exists` found a slot of that name, plugin and database; one that differs is an error. When it
// throws, Stopped included, no slot is left behind; nor when this process is killed while it waits.
bool create_logical_slot(Connection& connection, const Conninfo& conninfo, const LogicalSlotOptions& options);

struct DropSlotOptions {
    std::string name = {};
    bool if_exists = false;
    bool wait = false;  // until nobody uses it; else a slot in use is an error that says who uses it
};

// Returns false where `if_exists` found none.
bool drop_slot(Connection& connection, const DropSlotOptions& options);

}  // namespace pgcascade::postgres
