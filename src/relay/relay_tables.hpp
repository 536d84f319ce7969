#pragma once

#include <string>

#include "relay/relay_state.hpp"

namespace pgcascade::relay {

// What a relay tells of itself to whoever may log in: SHOW pgcascade.NAME, by psql too. Appends a whole
// answer but for ReadyForQuery; false where there is no such table.
//
//     pgcascade.slots                the columns of pg_replication_slots, and what pgcascade slot list adds
//     pgcascade.sessions             who is connected, and where they stand
//     pgcascade.feeds                what is received, from where, and how much of it is kept
//     pgcascade.wal                  the same of the WAL; no row where the relay has none
//     pgcascade.wal_sender_timeout   in milliseconds
bool append_relay_table(std::string& out, const std::string& name, const RelayState& relay);

}  // namespace pgcascade::relay
