#pragma once

#include <memory>
#include <optional>
#include <string>

#include <pgcascade/stream.hpp>

#include "postgres/replication_connection.hpp"
#include "stream/start_checks.hpp"

// One connection of a ChangeStream, from the login to the running stream.

namespace pgcascade {

struct Session {
    std::unique_ptr<postgres::ReplicationConnection> connection;
    StreamServer server;
    std::string system_identifier;
    Lsn confirmed;  // where the slot stands
};

// For a session that goes on where another one broke off.
struct Resumption {
    std::string system_identifier;
    Lsn position;
};

// Throws ConfigError for options that no server could make sense of.
void check_options(const StreamOptions& options);

// In this order: reaches the server, checks it, checks the publications, checks that it is the cluster of the
// first session, creates the slot where asked to (in the first session only), checks the slot, starts. Each
// failure is thrown with its hint; whether trying again can help is for the caller (healing.hpp).
Session open_session(const StreamOptions& options, const std::optional<Resumption>& resumption);

}  // namespace pgcascade
