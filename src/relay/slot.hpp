#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include <pgcascade/change.hpp>
#include <pgcascade/lsn.hpp>

#include "relay/standby_horizon.hpp"

namespace pgcascade::relay {

// A replication slot of the relay itself: where a downstream stands, in PostgreSQL's own words
// (pg_replication_slots).
struct Slot {
    enum class Kind { kPhysical, kLogical };

    std::string name;
    Kind kind = Kind::kPhysical;
    std::string database;  // logical: of the upstream; each of its feeds may be read through the slot
    std::string feed;      // logical: the one that was read through it last; empty: none yet
    std::string owner;     // the user who made it
    // restart_lsn of a physical slot, confirmed_flush_lsn of a logical one. 0/0: it holds nothing yet.
    Lsn position;
    Lsn persisted;           // what of it is on disk; 0/0 for a temporary slot
    StandbyHorizon horizon;  // physical: what its standby needs of the upstream's rows
    StandbyHorizon persisted_horizon;
    bool temporary = false;  // it ends with its session
    bool two_phase = false;
    bool failover = false;
    // Logical: the history that was read through it ended at `left_at`, for the upstream was failed over, and
    // the client has not come back since. The first transaction that the new history lacks ended at `lost`.
    // 0/0: nothing of that.
    Lsn left_at;
    Lsn lost;
    std::string invalidation_reason;  // why it can never be used again, in one word; empty while it can
    Timestamp created;
    int active_pid = 0;                       // the session that uses it; 0: none
    std::uint64_t lease = 0;                  // through which it does, see SlotLease
    std::optional<Timestamp> inactive_since;  // nothing while active; the relay's start at the earliest

    // Logical: whether a client that asks to go on there holds what is lost.
    bool has_lost(Lsn requested) const { return lost && requested >= lost; }

    // Logical: from where on a client is to be served that asks to go on there. What it was told of the old
    // history's positions counts for nothing in the new one.
    Lsn start_for(Lsn requested) const {
        return std::max(position, left_at ? std::min(requested, left_at) : requested);
    }

    bool is_logical() const { return kind == Kind::kLogical; }
    bool is_invalidated() const { return !invalidation_reason.empty(); }

    // What has to be kept for it, whatever crash may come; 0/0: nothing. A temporary slot needs nothing after
    // a crash. Nor does one that has never been saved with a position, but its downstream relies on it by
    // now.
    Lsn needs() const {
        if (is_invalidated()) return {};
        return persisted ? persisted : position;
    }
};

using Slots = std::map<std::string, Slot, std::less<>>;  // by name

// Lower-case letters, digits and underscores, 1 to 63 of them.
bool is_slot_name(std::string_view name);

// Throws ServerError as PostgreSQL words it (slot.c, ReplicationSlotValidateName): SQLSTATE 42602, or 42622
// where the name is too long.
void check_slot_name(std::string_view name);

}  // namespace pgcascade::relay
