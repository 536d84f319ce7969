#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include <pgcascade/lsn.hpp>

#include "relay/relay_state.hpp"

// What operators are told of a relay, whichever way they ask: SHOW pgcascade.NAME, Prometheus. Any thread.

namespace pgcascade::relay {

// Null where no feed has that name.
const Feed* find_feed(const RelayState& relay, const std::string& name);

// "receiving"; "paused", as its log is full; "connecting".
const char* state_of(const IncomingLog& log);

// Up to where the WAL was received; 0/0: there is none.
Lsn received_wal(const RelayState& relay);

// The log holds what was committed after `begin`, up to `end`. Nothing until the upstream was reached for the
// first time. Throws LogCorrupt, SystemError.
struct LogRange {
    Lsn begin;
    Lsn end;
};
std::optional<LogRange> log_range(const Feed& feed);

// How far slots are behind, and what they hold back. For one look at them all; one thread.
class SlotLags {
  public:
    explicit SlotLags(const RelayState& relay) : relay_(relay) {}

    // Of the upstream's WAL, from where the slot stands to what was received last.
    std::int64_t lag_bytes(const Slot& slot) const;

    // Of the logs of its database's feeds, or of the WAL, which can't be removed for its sake; 0 where it is
    // invalidated.
    // Throws LogCorrupt, SystemError.
    std::uint64_t retained_log_bytes(const Slot& slot);

  private:
    const Feed* feed_of(const Slot& slot) const;
    std::uint64_t bytes_from(const Feed& feed, Lsn position);

    const RelayState& relay_;
    std::map<std::pair<const Feed*, Lsn>, std::uint64_t> known_;  // many slots stand at one place
};

}  // namespace pgcascade::relay
