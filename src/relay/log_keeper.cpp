#include "relay/log_keeper.hpp"

#include <algorithm>
#include <thread>
#include <utility>

#include <fmt/format.h>
#include <poll.h>

#include "base/diagnostics.hpp"
#include "base/file.hpp"
#include "base/quantity.hpp"

namespace pgcascade::relay {

using std::chrono::milliseconds;

namespace {

constexpr milliseconds kTidyInterval{1'000};

// The first news are brought to disk at once; under load this much gathers.
constexpr milliseconds kSyncInterval{5};

}  // namespace

void LogKeeper::run() {
    while (!is_stopping_) {
        pollfd waited{news_.fd(), POLLIN, 0};
        ::poll(&waited, 1, static_cast<int>(kTidyInterval.count()));
        news_.clear();
        std::this_thread::sleep_until(synced_ + kSyncInterval);
        sync();
        synced_ = steady_now();
        if (steady_now() >= tidy_due_) tidy();
    }
    sync();
    save_slots([this] { slots_.save(); });
}

void LogKeeper::stop() {
    is_stopping_ = true;
    news_.wake();
}

void LogKeeper::sync() {
    for (const Kept& kept : logs_) {
        const SteadyTime begun = steady_now();
        if (!kept.log->sync()) continue;
        sync_seconds_.Observe(std::chrono::duration<double>{steady_now() - begun}.count());
        kept.on_durable();
    }
}

// On a full disk, in the room that is reserved for it: with the slots' positions on disk, what nobody needs
// any more can be removed. False where there is not even that: it is tried again.
bool LogKeeper::save_slots(const std::function<void()>& save) {
    for (;;) {
        try {
            save();
            is_want_of_room_told_ = false;
            return true;
        } catch (const SystemError& problem) {
            if (!is_out_of_room(problem)) throw;
            if (reserve_.release()) continue;
            if (!std::exchange(is_want_of_room_told_, true))
                diagnostics::warning(fmt::format("the slots' positions: {}; trying again", problem.what()),
                                     {}, {{"component", "slots"}});
            return false;
        }
    }
}

void LogKeeper::tidy() {
    tidy_due_ = steady_now() + kTidyInterval;
    if (save_slots([this] { slots_.save(); })) reserve_.take();
    for (const Kept& kept : logs_) {
        remove_what_nobody_needs(kept);
        if (!config_.max_bytes) continue;
        if (config_.when_full == WhenFull::kInvalidate)
            keep_limit(kept);
        else
            pause_where_full(kept);
    }
}

// Only what a slot says on disk counts: after a crash it stands there again.
void LogKeeper::remove_what_nobody_needs(const Kept& kept) {
    const auto slot = most_lagging(kept);
    kept.log->remove_before(slot ? std::optional{slot->needs()} : std::nullopt);
}

bool LogKeeper::is_past_limit(const IncomingLog& log) const {
    return log.bytes() > static_cast<std::uint64_t>(*config_.max_bytes);
}

void LogKeeper::keep_limit(const Kept& kept) {
    IncomingLog& log = *kept.log;
    while (is_past_limit(log)) {
        const auto slot = most_lagging(kept);
        if (!slot || !log.is_held_at(slot->needs())) return;
        const std::uint64_t before = log.bytes();
        if (!save_slots([&] { slots_.invalidate(slot->name, "wal_removed"); })) return;
        remove_what_nobody_needs(kept);
        diagnostics::warning(
            fmt::format("{}: the log has reached max_bytes ({}): slot \"{}\", which stood at {}, is "
                        "invalidated; {} are free again",
                        log.label(), format_bytes(*config_.max_bytes), slot->name, slot->needs().to_string(),
                        format_bytes(static_cast<std::int64_t>(before - std::min(before, log.bytes())))),
            log.way_back(), log.about({{"slot", slot->name}, {"lsn", slot->needs().to_string()}}));
    }
}

void LogKeeper::pause_where_full(const Kept& kept) {
    IncomingLog& log = *kept.log;
    const auto slot = most_lagging(kept);
    // A transaction may be larger than the limit: to wait within it would be for ever.
    const bool is_full = is_past_limit(log) && slot && log.is_held_at(slot->needs());
    if (is_full == log.is_full()) return;
    log.set_full(is_full);
    if (!is_full)
        return diagnostics::info(fmt::format("{}: there is room in the log again", log.label()), log.about());
    diagnostics::warning(
        fmt::format(
            "{}: the log has reached max_bytes ({}): nothing is received until slot \"{}\", at {}, moves on",
            log.label(), format_bytes(*config_.max_bytes), slot->name, slot->needs().to_string()),
        "the upstream keeps its WAL meanwhile",
        log.about({{"slot", slot->name}, {"lsn", slot->needs().to_string()}}));
}

// Of those that hold the log back.
std::optional<Slot> LogKeeper::most_lagging(const Kept& kept) const {
    std::optional<Slot> most;
    for (Slot& slot : slots_.list()) {
        if (!slot.needs() || !kept.is_held_by(slot)) continue;
        if (!most || slot.needs() < most->needs()) most = std::move(slot);
    }
    return most;
}

}  // namespace pgcascade::relay
