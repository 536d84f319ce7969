#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <pgcascade/lsn.hpp>

#include "postgres/connection.hpp"

// A relay (pgcascade relay) as a server: it knows replication commands only, and tells of itself by SHOW. Its
// slots: postgres/slots.hpp.

namespace pgcascade::postgres {

// The ParameterStatus that only a relay has: another value each time that it starts, or takes back what it
// has sent.
inline constexpr const char* kRelayParameter = "pgcascade.relay";

inline bool is_relay(const Connection& connection) {
    return !connection.parameter(kRelayParameter).empty();
}

// Whom a relay receives from, as the relay reaches it.
struct RelaySender {
    std::string host;
    std::string port;

    bool operator==(const RelaySender&) const = default;
};

// SHOW pgcascade.feeds.
struct RelayFeed {
    std::string name;
    std::string database;
    std::string slot;  // on the upstream
    std::optional<Lsn> received;
    std::optional<Lsn> durable;
    std::int64_t log_bytes = 0;
    std::string problem;                     // why nothing is received; empty: there is none
    std::optional<RelaySender> sender = {};  // nothing: it is not connected now
};
std::vector<RelayFeed> list_feeds(Connection& relay);

// SHOW pgcascade.wal; nothing where the relay has none.
struct RelayWal {
    std::string slot;                    // on the upstream
    std::optional<TimelineId> timeline;  // nothing, and no LSNs: the upstream has never been reached
    std::optional<Lsn> begin;
    std::optional<Lsn> received;
    std::optional<Lsn> durable;
    std::int64_t log_bytes = 0;
    std::string problem;
    std::optional<RelaySender> sender = {};
};
std::optional<RelayWal> find_wal(Connection& relay);

// SHOW pgcascade.sessions: who is connected.
struct RelaySession {
    int pid = 0;
    std::string client;
    std::string application_name;
    std::string slot;  // it streams through; empty: none
    std::optional<Lsn> written;
    std::optional<Lsn> flushed;
    std::optional<Lsn> applied;
    std::optional<std::int64_t> lag_bytes;  // of what the relay has of its feed
};
std::vector<RelaySession> list_sessions(Connection& relay);

}  // namespace pgcascade::postgres
