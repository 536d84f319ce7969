#include "relay/log_keeper.hpp"

#include <algorithm>
#include <thread>

#include <fmt/format.h>
#include <poll.h>

#include "base/diagnostics.hpp"
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
    slots_.save();
}

void LogKeeper::stop() {
    is_stopping_ = true;
    news_.wake();
}

void LogKeeper::sync() {
    for (const Kept& kept : feeds_) {
        log::FeedLog& log = kept.feed->log();
        if (log.durable() == log.finished()) continue;
        log.sync();
        kept.on_durable();
    }
}

void LogKeeper::tidy() {
    tidy_due_ = steady_now() + kTidyInterval;
    slots_.save();
    for (const Kept& kept : feeds_) {
        remove_what_nobody_needs(*kept.feed);
        if (!config_.max_bytes) continue;
        if (config_.when_full == WhenFull::kInvalidate)
            keep_limit(*kept.feed);
        else
            pause_where_full(*kept.feed);
    }
}

// Only what a slot says on disk counts: after a crash it stands there again.
void LogKeeper::remove_what_nobody_needs(Feed& feed) {
    const auto slot = most_lagging(feed.config().database);
    feed.log().remove_before(slot ? feed.log().find(slot->persisted) : feed.log().finished());
}

void LogKeeper::keep_limit(Feed& feed) {
    while (feed.bytes() > static_cast<std::uint64_t>(*config_.max_bytes)) {
        const auto slot = most_lagging(feed.config().database);
        if (!slot || feed.log().find(slot->persisted) >= feed.log().finished()) return;  // it holds nothing
        const std::uint64_t before = feed.bytes();
        slots_.invalidate(slot->name, "wal_removed");
        remove_what_nobody_needs(feed);
        diagnostics::warning(
            fmt::format("feed {}: the log has reached max_bytes ({}): slot \"{}\", which stood at {}, is "
                        "invalidated; {} are free again",
                        feed.name(), format_bytes(*config_.max_bytes), slot->name,
                        slot->persisted.to_string(),
                        format_bytes(static_cast<std::int64_t>(before - feed.bytes()))),
            "its subscriber needs a new copy of the data; drop the slot");
    }
}

void LogKeeper::pause_where_full(Feed& feed) {
    const bool is_full = feed.bytes() > static_cast<std::uint64_t>(*config_.max_bytes);
    if (is_full == feed.is_full()) return;
    feed.set_full(is_full);
    if (!is_full)
        return diagnostics::info(fmt::format("feed {}: there is room in the log again", feed.name()));
    const auto slot = most_lagging(feed.config().database);
    diagnostics::warning(
        fmt::format("feed {}: the log has reached max_bytes ({}): nothing is received until {} moves on",
                    feed.name(), format_bytes(*config_.max_bytes),
                    slot ? fmt::format("slot \"{}\", at {},", slot->name, slot->persisted.to_string())
                         : "the slowest session"),
        "the upstream keeps its WAL meanwhile");
}

// Of those that hold the log back. A subscriber may go over to another set of publications, and so to another
// feed of its database: each slot counts for all of them.
std::optional<Slot> LogKeeper::most_lagging(const std::string& database) const {
    const auto is_of_database = [&](const Slot& slot) {
        return std::any_of(feeds_.begin(), feeds_.end(), [&](const Kept& kept) {
            return kept.feed->name() == slot.feed && kept.feed->config().database == database;
        });
    };
    std::optional<Slot> most;
    for (Slot& slot : slots_.list()) {
        if (!slot.is_logical() || slot.is_invalidated() || !is_of_database(slot)) continue;
        // A temporary slot is never on disk: it ends with its session.
        if (slot.temporary) slot.persisted = slot.position;
        if (!most || slot.persisted < most->persisted) most = std::move(slot);
    }
    return most;
}

}  // namespace pgcascade::relay
