#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <pgcascade/lsn.hpp>

#include "relay/slot.hpp"

namespace pgcascade::relay {

class SlotStore;

// A session's use of a slot, for as long as this lives. It must not outlive the store. One thread at a time.
class SlotLease {
  public:
    SlotLease() = default;  // of none
    SlotLease(SlotLease&& other) noexcept { swap(other); }
    SlotLease& operator=(SlotLease&& other) noexcept {
        SlotLease{std::move(other)}.swap(*this);
        return *this;
    }
    ~SlotLease();

    const std::string& slot() const { return slot_; }
    explicit operator bool() const { return store_ != nullptr; }

    // The downstream needs nothing below it any more. A position that lies behind is ignored: no session
    // moves a slot back. Returns false where the slot was invalidated, dropped, or taken away by leave(): the
    // session has to end. No disk.
    bool advance(Lsn position) const;

    // What its standby needs of the upstream's rows, whether it is connected or not.
    void set_horizon(const StandbyHorizon& horizon) const;

  private:
    friend class SlotStore;

    SlotLease(SlotStore& store, std::string slot, std::uint64_t number, bool owns_slot)
        : store_(&store), slot_(std::move(slot)), number_(number), owns_slot_(owns_slot) {}
    void swap(SlotLease& other) noexcept;

    SlotStore* store_ = nullptr;
    std::string slot_;
    std::uint64_t number_ = 0;  // Slot::lease, while it is this slot and no later one of that name
    bool owns_slot_ = false;    // a temporary one, which ends with this
};

struct NewSlot {
    std::string name = {};
    Slot::Kind kind = Slot::Kind::kPhysical;
    std::string database = {};  // logical
    std::string owner = {};
    Lsn position = {};  // 0/0: a physical slot that holds nothing until it is first advanced
    bool two_phase = false;
    bool failover = false;
};

struct SlotChange {
    std::optional<bool> two_phase = {};
    std::optional<bool> failover = {};
};

// The relay's own replication slots. A slot that create() has made is there after any crash, until drop();
// one that was invalidated stays so. Its position is after a crash the one of the last save() or a later one
// that it had reached; only leave() moves it back.
//
// Any thread. What changes the set of slots, or what is durable of one, waits for the disk: create (also of
// temporary slots), bind, alter, drop, invalidate, leave and save. The rest never does, so event loops may do
// it. Errors that a client is to be told are ServerErrors in PostgreSQL's words; whatever goes to disk throws
// SystemError, too, and after one that is a failed fsync the process must end. A pid tells one session from
// all others, and is never 0.
class SlotStore {
  public:
    // All are written each time.
    static constexpr std::size_t kMostSlots = 10'000;

    // Reads the file `slots` of the directory, which must be there; without it there are none. The caller
    // sees to it that nobody else writes there. Throws LogCorrupt, SystemError.
    explicit SlotStore(const std::filesystem::path& directory);

    std::vector<Slot> list() const;  // by name
    std::optional<Slot> find(std::string_view name) const;

    // What the standbys of all physical slots need of the upstream's rows.
    StandbyHorizon horizon() const;

    // Throws 42602 or 42622 for its name, 42710 where it exists, 53400 where there are too many.
    void create(const NewSlot& wanted);

    // For a session, and only as long as the lease lives; 0A000 for one with failover.
    [[nodiscard]] SlotLease create_temporary(const NewSlot& wanted, int pid);

    // For one session at a time; a temporary slot only for the one that made it. Throws 42704 where it does
    // not exist, 55006 where another session uses it, 55000 where it was invalidated.
    [[nodiscard]] SlotLease acquire(std::string_view name, int pid);

    // From now on, also after a crash, that feed is read through it, in the history that it has now. Nothing
    // happens where it is gone.
    void bind(const SlotLease& lease, const std::string& feed);

    // As acquire(); 0A000 for a physical slot, or a temporary one with failover.
    void alter(std::string_view name, int pid, const SlotChange& change);

    // As acquire(), but an invalidated one can be dropped.
    void drop(std::string_view name, int pid);

    // Whether drop() and alter() would not find it in use. For DROP … WAIT and ALTER, which wait: ask from
    // time to time, then try, and go on waiting where the answer is 55006: somebody else was quicker.
    bool is_free(std::string_view name, int pid) const;

    // It holds nothing any more and can't be used again; a session that uses it learns it from its lease. The
    // reason is one word, as in pg_replication_slots: wal_removed. Returns false where there is no such slot
    // or it is invalidated already.
    bool invalidate(std::string_view name, const std::string& reason);

    // The upstream of a feed was failed over to a server whose history left the feed's at `end`.
    struct Divergence {
        std::string database;
        std::string feed;
        Lsn end;
        std::optional<Lsn> lost;  // where the first transaction ends that is not in the new history
    };

    // Ends the use of the slots that the feed is read through, and makes them fit for the new history, which
    // is durable when it returns: the one case in which slots move back. Who has confirmed a lost transaction
    // holds rows that nobody else has: his slot is invalidated, for "diverged". So is a slot beyond the end
    // that was never read through: the copy that was made with it may hold such rows. One that was only told
    // how far the upstream had come goes back to the end: what the new history has from there on must not be
    // skipped. What its client has taken without confirming it, only the client tells when it comes back: see
    // Slot::left_at. Temporary ones are invalidated. Returns those that it has invalidated.
    std::vector<Slot> leave(const Divergence& divergence);

    // Brings the positions that have moved to disk. Returns false where none has, and nothing was written.
    bool save();

  private:
    friend class SlotLease;

    bool advance(const SlotLease& lease, Lsn position);
    void set_horizon(const SlotLease& lease, const StandbyHorizon& horizon);
    void release(const SlotLease& lease) noexcept;

    // mutex_ must be held.
    Slot* leased(const SlotLease& lease);
    Slot& free_for(std::string_view name, int pid);
    SlotLease hold(Slot& slot, int pid);
    void take_away(Slot& slot);
    Slot made(const NewSlot& wanted) const;

    // writing_ must be held, mutex_ not.
    void commit(const std::function<void(Slots&)>& change);

    const std::filesystem::path file_;

    // Held while a new file is made and written, so that the files come in the order of the changes. Always
    // taken before mutex_.
    std::mutex writing_;

    // Sessions of all event loops and the retention meet here. Held for moments only, never over a wait for
    // the disk: an event loop that waits stops all of its sessions.
    mutable std::mutex mutex_;
    Slots slots_;
    std::uint64_t last_lease_ = 0;
};

}  // namespace pgcascade::relay
