#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include <pgcascade/stream.hpp>

#include "postgres/replication_connection.hpp"
#include "postgres/start_checks.hpp"

// One connection that streams logical replication with pgoutput, from the login to the running stream.

namespace pgcascade::postgres {

struct LogicalSession {
    std::unique_ptr<ReplicationConnection> connection;
    StreamServer server;
    std::string system_identifier;
    TimelineId timeline;
    Lsn confirmed;  // where the slot stands
};

// For a session that goes on where another one broke off.
struct Resumption {
    std::string system_identifier;
    Lsn position;

    // Told who the server is before it is asked for anything: gives the position to go on at, which its
    // history may want to lie further back, or throws. Null: the position stands.
    std::function<Lsn(ReplicationConnection&, const SystemIdentity&, const StreamServer&)> find_position = {};
};

// In this order: reaches the server, checks it, checks the publications, checks that it is the cluster of the
// first session and has its history, creates the slot where asked to (in the first session only), checks the
// slot, starts. Each failure is thrown with its hint; whether trying again can help is for the caller
// (healing.hpp). Of the options it heeds those that say what to read and where.
LogicalSession open_session(const StreamOptions& options, const std::optional<Resumption>& resumption);

}  // namespace pgcascade::postgres
