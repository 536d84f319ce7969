#pragma once

#include <memory>
#include <string>
#include <string_view>

#include <pgcascade/error.hpp>

#include "postgres/connection.hpp"
#include "postgres/conninfo.hpp"

// The way up from a standby: its walreceiver's sender, and so on to the primary, through relays too. Source:
// PostgreSQL manual, pg_stat_wal_receiver; of a relay SHOW pgcascade.wal.

namespace pgcascade::postgres {

// How to reach the server that feeds this standby, or relay, with the user, password, database and other
// options of `conninfo`, by which the standby itself was reached. A sender that the standby reaches over its
// loopback or a socket is looked for on the standby's own host. Throws ServerError, with a hint, where the
// standby receives from nobody now, or the role may not see from whom.
Conninfo upstream_conninfo(Connection& standby, const Conninfo& conninfo);

// The same for a host and port that the standby reaches its upstream by, wherever they were read.
Conninfo conninfo_of_sender(const Connection& standby, const Conninfo& conninfo, std::string host,
                            std::string_view port);

// The refusal of a server on the way, with what to do where that is a relay: before it has let us in, nobody
// can tell.
LoginError refusal_on_the_way(const LoginError& refusal);

struct ServerAtConninfo {
    Conninfo conninfo;
    std::unique_ptr<Connection> connection;
};

// Follows the chain from a standby up to the primary and returns that. Every server on the way must belong to
// the same cluster (system identifier). Throws what upstream_conninfo and Connection throw, ServerError for a
// server of another cluster.
ServerAtConninfo connect_to_primary(Connection& standby, const Conninfo& conninfo);

// Connects to a primary that somebody named, and makes sure that it is the one that feeds this standby.
ServerAtConninfo connect_to_named_primary(Connection& standby, const Conninfo& primary);

bool is_in_recovery(Connection& connection);  // a relay is, as it has no WAL of its own

}  // namespace pgcascade::postgres
