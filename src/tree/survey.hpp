#pragma once

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "postgres/conninfo.hpp"
#include "tree/cascade_file.hpp"
#include "tree/observation.hpp"

// Everything that the doctor's checks look at, gathered once: the servers of a cascade file, or one server
// and its upstreams. Relays are among them.

namespace pgcascade::tree {

struct TableWithoutIdentity {
    std::string publication;
    std::string table;  // quoted as SQL wants it
};

// What a database publishes.
struct PublishedDatabase {
    std::string name;
    std::vector<std::string> publications;
    // In a publication of updates or deletes, and with no replica identity that could name a row.
    std::vector<TableWithoutIdentity> without_identity;
};

struct Patient {
    std::string name;
    std::optional<std::size_t> upstream;      // in Survey::servers; nothing: a primary, or not known
    std::optional<Problem> unknown_upstream;  // a standby whose upstream could not be looked at: why

    std::optional<ServerState> state;  // nothing: see `unreachable`
    Problem unreachable;

    std::string version() const;  // "15.18", of `state`, without what a distribution adds
    // Nothing where it is empty, can't be read as a connection string, or is not shown to this role.
    std::optional<postgres::Conninfo> primary_conninfo() const;

    std::string role;                   // whom we are there
    std::string client_address;         // whence the server sees us; empty: a Unix socket
    bool may_log_snapshots = false;     // call pg_log_standby_snapshot(); 16
    bool replay_is_paused = false;      // a standby
    std::string slot_on_upstream;       // that it has or could have
    std::string replication_role = {};  // whom standbys log in as; empty: not known

    // Replication connections that we opened to see whether we may: with the database (for decoding), and
    // physical ones (for standbys). Nothing: it went well, or was not tried.
    std::optional<Problem> database_replication_refused;
    std::optional<Problem> physical_replication_refused;
    // A standby of a file that does not stream: its own connection string, tried from here.
    std::optional<Problem> upstream_refuses;

    std::vector<PublishedDatabase> databases;

    std::optional<std::int64_t> max_log_bytes = {};  // a relay: of each feed's log; nothing: no limit
};

struct Survey {
    std::vector<Patient> servers;

    // Null where there is none, or it did not answer.
    const Patient* upstream_of(const Patient& server) const;
    const Patient* primary_of(const Patient& server) const;
};

struct SurveyOptions {
    std::chrono::milliseconds timeout{5'000};  // of each login and each query
    int stop_fd = -1;
};

// The server, and every server that it gets its WAL from, up to the primary. Throws ConnectionError or
// LoginError where that one server does not let us look (but not for a standby with hot_standby off: that is
// a finding).
Survey survey_chain(const postgres::Conninfo& conninfo, const SurveyOptions& options);

// All nodes of the file at once. What can't be reached is part of the survey. Throws Stopped.
Survey survey_cascade(const Cascade& cascade, const SurveyOptions& options);

}  // namespace pgcascade::tree
