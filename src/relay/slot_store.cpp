#include "relay/slot_store.hpp"

#include <algorithm>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include <pgcascade/error.hpp>

#include "base/clock.hpp"
#include "base/file.hpp"
#include "relay/refusal.hpp"
#include "relay/slot_file.hpp"

namespace pgcascade::relay {

namespace {

bool is_free_for(const Slot& slot, int pid) {
    return slot.active_pid == 0 || (slot.temporary && slot.active_pid == pid);
}

void refuse_temporary_failover(bool failover) {
    if (failover) throw ServerError("cannot enable failover for a temporary replication slot", "0A000");
}

}  // namespace

// ── a session's lease ──────────────────────────────────────────────────────────────────────────────────

SlotLease::~SlotLease() {
    if (store_ != nullptr) store_->release(*this);
}

bool SlotLease::advance(Lsn position) const {
    return store_->advance(*this, position);
}

void SlotLease::set_horizon(const StandbyHorizon& horizon) const {
    store_->set_horizon(*this, horizon);
}

void SlotLease::swap(SlotLease& other) noexcept {
    std::swap(store_, other.store_);
    std::swap(slot_, other.slot_);
    std::swap(number_, other.number_);
    std::swap(owns_slot_, other.owns_slot_);
}

bool SlotStore::advance(const SlotLease& lease, Lsn position) {
    const std::lock_guard lock{mutex_};
    Slot* slot = leased(lease);
    if (slot == nullptr || slot->is_invalidated()) return false;
    slot->position = std::max(slot->position, position);
    return true;
}

void SlotStore::set_horizon(const SlotLease& lease, const StandbyHorizon& horizon) {
    const std::lock_guard lock{mutex_};
    if (Slot* slot = leased(lease); slot != nullptr) slot->horizon = horizon;
}

StandbyHorizon SlotStore::horizon() const {
    const std::lock_guard lock{mutex_};
    StandbyHorizon oldest;
    for (const auto& [name, slot] : slots_)
        if (!slot.is_invalidated()) oldest.include(slot.horizon);
    return oldest;
}

void SlotStore::release(const SlotLease& lease) noexcept {
    const std::lock_guard lock{mutex_};
    Slot* slot = leased(lease);
    if (slot == nullptr) return;
    if (lease.owns_slot_) {
        slots_.erase(lease.slot_);
    } else {
        take_away(*slot);
    }
}

// Null where the slot was dropped; there may be a new one of that name.
Slot* SlotStore::leased(const SlotLease& lease) {
    const auto found = slots_.find(lease.slot_);
    return found == slots_.end() || found->second.lease != lease.number_ ? nullptr : &found->second;
}

// ── what there is ──────────────────────────────────────────────────────────────────────────────────────

SlotStore::SlotStore(const std::filesystem::path& directory) : file_(directory / "slots") {
    std::error_code unknown;
    const auto type = std::filesystem::status(file_, unknown).type();
    if (type == std::filesystem::file_type::not_found) return;
    slots_ = parse_slots(read_file(file_), file_);
    for (auto& [name, slot] : slots_) slot.inactive_since = now();
}

std::vector<Slot> SlotStore::list() const {
    const std::lock_guard lock{mutex_};
    std::vector<Slot> all;
    for (const auto& [name, slot] : slots_) all.push_back(slot);
    return all;
}

std::optional<Slot> SlotStore::find(std::string_view name) const {
    const std::lock_guard lock{mutex_};
    const auto found = slots_.find(name);
    if (found == slots_.end()) return std::nullopt;
    return found->second;
}

bool SlotStore::is_free(std::string_view name, int pid) const {
    const auto slot = find(name);
    return !slot || is_free_for(*slot, pid);
}

Slot& SlotStore::free_for(std::string_view name, int pid) {
    const auto found = slots_.find(name);
    if (found == slots_.end())
        throw ServerError(fmt::format("replication slot \"{}\" does not exist", name), "42704");
    if (const Slot& slot = found->second; !is_free_for(slot, pid))
        throw ServerError(fmt::format("replication slot \"{}\" is active for PID {}", name, slot.active_pid),
                          "55006");
    return found->second;
}

SlotLease SlotStore::hold(Slot& slot, int pid) {
    if (slot.active_pid == 0) {
        slot.active_pid = pid;
        slot.lease = ++last_lease_;
        slot.inactive_since.reset();
    }
    return {*this, slot.name, slot.lease, false};
}

// ── changes ────────────────────────────────────────────────────────────────────────────────────────────

// Writes the slots as `change` makes them, and only then lets anybody see them so.
void SlotStore::commit(const std::function<void(Slots&)>& change) {
    Slots next;
    {
        const std::lock_guard lock{mutex_};
        next = slots_;
    }
    change(next);
    write_file_durably(file_, to_text(next), 0600);

    const std::lock_guard lock{mutex_};
    change(slots_);
    for (auto& [name, slot] : slots_)
        if (const auto written = next.find(name); written != next.end() && !slot.temporary) {
            slot.persisted = written->second.position;
            slot.persisted_horizon = written->second.horizon;
        }
}

Slot SlotStore::made(const NewSlot& wanted) const {
    check_slot_name(wanted.name);
    if (slots_.contains(wanted.name))
        throw ServerError(fmt::format("replication slot \"{}\" already exists", wanted.name), "42710");
    if (slots_.size() >= kMostSlots)
        throw ServerError("all replication slots are in use", "53400",
                          fmt::format("Free one; the relay has at most {}.", kMostSlots));
    if (wanted.database.empty() == (wanted.kind == Slot::Kind::kLogical))
        throw Error(
            fmt::format("slot \"{}\": a logical slot is of a database, a physical one of none", wanted.name));
    Slot slot;
    slot.name = wanted.name;
    slot.kind = wanted.kind;
    slot.database = wanted.database;
    slot.owner = wanted.owner;
    slot.position = wanted.position;
    slot.two_phase = wanted.two_phase;
    slot.failover = wanted.failover;
    slot.created = now();
    slot.inactive_since = slot.created;
    return slot;
}

void SlotStore::create(const NewSlot& wanted) {
    const std::lock_guard writing{writing_};
    Slot slot;
    {
        const std::lock_guard lock{mutex_};
        slot = made(wanted);
    }
    commit([&](Slots& slots) { slots.emplace(slot.name, slot); });
}

SlotLease SlotStore::create_temporary(const NewSlot& wanted, int pid) {
    refuse_temporary_failover(wanted.failover);
    // A slot of that name may be on its way to disk.
    const std::lock_guard writing{writing_};
    const std::lock_guard lock{mutex_};
    Slot slot = made(wanted);
    slot.temporary = true;
    SlotLease lease = hold(slot, pid);
    lease.owns_slot_ = true;
    slots_.emplace(slot.name, std::move(slot));
    return lease;
}

SlotLease SlotStore::acquire(std::string_view name, int pid) {
    const std::lock_guard lock{mutex_};
    Slot& slot = free_for(name, pid);
    if (slot.is_invalidated())
        throw Refusal(fmt::format("can no longer access replication slot \"{}\"", name), "55000",
                      fmt::format("This replication slot has been invalidated due to \"{}\".",
                                  slot.invalidation_reason));
    return hold(slot, pid);
}

void SlotStore::bind(const SlotLease& lease, const std::string& feed) {
    const std::lock_guard writing{writing_};
    commit([&](Slots& slots) {
        const auto found = slots.find(lease.slot_);
        if (found == slots.end() || found->second.lease != lease.number_) return;
        found->second.feed = feed;
        found->second.left_at = found->second.lost = {};
    });
}

void SlotStore::alter(std::string_view name, int pid, const SlotChange& change) {
    const std::lock_guard writing{writing_};
    const SlotLease lease = acquire(name, pid);
    const Slot slot = *find(name);
    if (!slot.is_logical())
        throw ServerError("cannot use ALTER_REPLICATION_SLOT with a physical replication slot", "0A000");
    if (slot.temporary) refuse_temporary_failover(change.failover.value_or(false));
    commit([&](Slots& slots) {
        Slot& altered = slots.find(name)->second;
        altered.two_phase = change.two_phase.value_or(altered.two_phase);
        altered.failover = change.failover.value_or(altered.failover);
    });
}

void SlotStore::drop(std::string_view name, int pid) {
    const std::lock_guard writing{writing_};
    SlotLease lease;
    {
        const std::lock_guard lock{mutex_};
        lease = hold(free_for(name, pid), pid);  // nobody else gets it meanwhile
    }
    commit([&](Slots& slots) { slots.erase(lease.slot_); });
}

bool SlotStore::invalidate(std::string_view name, const std::string& reason) {
    if (!is_slot_name(reason)) throw Error("a slot is invalidated for a reason in one word");
    const std::lock_guard writing{writing_};
    const auto slot = find(name);
    if (!slot || slot->is_invalidated()) return false;
    commit([&](Slots& slots) {
        const auto found = slots.find(name);
        if (found != slots.end()) found->second.invalidation_reason = reason;
    });
    return true;
}

namespace {

constexpr const char* kDiverged = "diverged";

bool is_of(const SlotStore::Divergence& divergence, const Slot& slot) {
    return slot.is_logical() && !slot.is_invalidated() && slot.database == divergence.database &&
           (slot.feed.empty() || slot.feed == divergence.feed);
}

bool has_diverged(const SlotStore::Divergence& divergence, const Slot& slot) {
    if (slot.temporary) return !slot.feed.empty() || slot.position > divergence.end;
    if (slot.feed.empty()) return slot.position > divergence.end;
    return divergence.lost && slot.position >= *divergence.lost;
}

void go_back(const SlotStore::Divergence& divergence, Slot& slot) {
    slot.position = std::min(slot.position, divergence.end);
    slot.left_at = slot.left_at ? std::min(slot.left_at, divergence.end) : divergence.end;
    if (divergence.lost) slot.lost = slot.lost ? std::min(slot.lost, *divergence.lost) : *divergence.lost;
}

}  // namespace

// First from their sessions: while it is written, none of them may move.
std::vector<Slot> SlotStore::leave(const Divergence& divergence) {
    const std::lock_guard writing{writing_};
    std::vector<Slot> invalidated;
    {
        const std::lock_guard lock{mutex_};
        for (auto& [name, slot] : slots_) {
            if (!is_of(divergence, slot)) continue;
            if (has_diverged(divergence, slot)) invalidated.push_back(slot);
            take_away(slot);
        }
    }
    commit([&](Slots& slots) {
        for (auto& [name, slot] : slots) {
            if (!is_of(divergence, slot)) continue;
            if (has_diverged(divergence, slot))
                slot.invalidation_reason = kDiverged;
            else
                go_back(divergence, slot);
        }
    });
    return invalidated;
}

// A temporary one is its session's until that ends.
void SlotStore::take_away(Slot& slot) {
    if (slot.active_pid == 0 || slot.temporary) return;
    slot.active_pid = 0;
    slot.lease = 0;
    slot.inactive_since = now();
}

bool SlotStore::save() {
    const std::lock_guard writing{writing_};
    {
        const std::lock_guard lock{mutex_};
        const bool has_moved = std::any_of(slots_.begin(), slots_.end(), [](const auto& entry) {
            const Slot& slot = entry.second;
            return !slot.temporary &&
                   (slot.position != slot.persisted || slot.horizon != slot.persisted_horizon);
        });
        if (!has_moved) return false;
    }
    commit([](Slots&) {});
    return true;
}

}  // namespace pgcascade::relay
