#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "postgres/connection.hpp"

// What must be true of a server before a stream can start on it, each with the hint that mends it. In the
// order in which a person would have to mend them.

namespace pgcascade::postgres {

struct StreamServer {
    bool is_standby = false;
    bool hot_standby_feedback = false;
    std::chrono::milliseconds wal_sender_timeout{};  // of this session; 0: none
    // No other server has the same one, nor has this one once it is started anew: all that is sent under it
    // is of one history.
    std::string run;
};

// The version, wal_level, and whether a standby can decode. Throws ServerError.
StreamServer check_server(Connection& connection);

// PostgreSQL 15 to 17 start a stream for publications that do not exist and never send anything, or fail at
// the first change. Throws ServerError that lists those that do exist.
void check_publications(Connection& connection, const std::vector<std::string>& publications);

}  // namespace pgcascade::postgres
