#pragma once

#include <string>

#include <pgcascade/format.hpp>

namespace pgcascade {

// The options with what the format wants to know and only the server can tell: the name of the database for
// debezium, the names of types for wal2json. What is set already stays.
//
// Asked over a connection of its own, because the one that streams takes no SQL: for debezium now, for
// wal2json at the first type that is not built in, and then by whoever calls the formatter. A server
// that restarts is waited for, up to a minute. Throws ConnectionError, LoginError, ServerError, and Stopped
// where stop_fd gets readable meanwhile.
FormatOptions ask_server(FormatOptions options, const std::string& conninfo, int stop_fd);

}  // namespace pgcascade
