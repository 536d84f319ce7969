#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <pgcascade/lsn.hpp>

#include "postgres/connection.hpp"
#include "relay/relay_file.hpp"

// How a relay that runs is, asked from outside as by any client: SHOW pgcascade.wal, feeds, slots, sessions.

namespace pgcascade::relay {

struct WalStatus {
    std::string upstream;  // without a password
    std::string slot;      // there
    std::string state;     // as of a feed
    std::optional<std::int64_t> timeline;
    std::optional<Lsn> begin;  // the log holds the WAL from here,
    std::optional<Lsn> received;
    std::optional<Lsn> durable;
    std::int64_t log_bytes = 0;
    std::string problem;  // as of a feed
};

struct FeedStatus {
    std::string name;
    std::string database;
    std::string publications;  // between commas
    std::string upstream;      // without a password
    std::string slot;          // there
    std::string state;         // "receiving"; "paused", as the log is full; "connecting"
    std::optional<Lsn> received;
    std::optional<Lsn> durable;
    std::int64_t log_bytes = 0;
    std::optional<Lsn> begin;  // the log holds what was committed after it,
    std::optional<Lsn> end;    // up to here
    std::string problem;       // what keeps it from receiving; empty: nothing that it knows of
};

struct SlotStatus {
    std::string name;
    std::string database;
    bool temporary = false;
    bool active = false;
    std::optional<Lsn> position;          // nothing where it is invalidated
    std::int64_t lag_bytes = 0;           // of WAL, to what was received last
    std::int64_t retained_log_bytes = 0;  // of the relay's logs, for its sake
    std::string invalidation_reason;      // empty while it can be used

    bool is_invalidated() const { return !invalidation_reason.empty(); }
};

// How far a client is, and how far that is behind what was received last. Nothing where it does not stream,
// or has not said.
struct Progress {
    std::optional<Lsn> lsn;
    std::optional<std::int64_t> lag_bytes;
};

struct SessionStatus {
    int pid = 0;  // of the relay's own counting
    std::string client;
    std::string user;
    std::string database;
    std::string application_name;
    std::string slot;
    std::string feed;   // empty while it streams WAL
    std::string state;  // "streaming", "idle"
    Progress sent;
    Progress write;
    Progress flush;
    Progress apply;
};

struct RelayProblem {
    std::string what;
    std::string hint;
};

struct RelayStatus {
    std::string relay;             // as the connection calls it
    std::optional<WalStatus> wal;  // nothing where it relays none
    std::vector<FeedStatus> feeds;
    std::vector<SlotStatus> slots;
    std::vector<SessionStatus> sessions;  // but for the one that asked
};

// Throws Error where the server is no relay, ConnectionError, ServerError, Stopped; ProtocolError where the
// relay does not tell enough: it is of an older version.
RelayStatus read_status(postgres::Connection& connection);

// WAL or feeds that are not received, slots that were invalidated.
std::vector<RelayProblem> problems_of(const RelayStatus& status);

// One JSON object, without a line break; docs/commands.md is its reference.
std::string to_json(const RelayStatus& status);

// How to reach the relay of that file from this machine: where it trusts if there is such an address, by its
// Unix socket before loopback before the others. User and password are libpq's business.
postgres::Conninfo conninfo_of(const RelayConfig& config);

}  // namespace pgcascade::relay
