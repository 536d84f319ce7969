#include "relay/operator_view.hpp"

#include <algorithm>

namespace pgcascade::relay {

const Feed* find_feed(const RelayState& relay, const std::string& name) {
    const auto found = std::find_if(relay.feeds.begin(), relay.feeds.end(),
                                    [&](const auto& feed) { return feed->name() == name; });
    return found == relay.feeds.end() ? nullptr : found->get();
}

const char* state_of(const IncomingLog& log) {
    if (!log.traffic.is_connected) return "connecting";
    return log.is_full() ? "paused" : "receiving";
}

Lsn received_wal(const RelayState& relay) {
    return relay.wal && relay.wal->log() != nullptr ? relay.wal->log()->readable().lsn : Lsn{};
}

// How much of the way from one to the other there is, where both are known.
static std::int64_t lag_between(Lsn position, Lsn newest) {
    return position && newest ? std::max<std::int64_t>(0, distance(position, newest)) : 0;
}

std::optional<LogRange> log_range(const Feed& feed) {
    const auto facts = feed.facts();
    if (!facts) return std::nullopt;
    const log::FeedLog& log = feed.log();
    const auto first = log.segment_at(log.begin());
    const Lsn begin = std::max(facts->start, first ? first->header().after : Lsn{});
    const auto last = log.last();
    return LogRange{begin, std::max(begin, last ? last->end_lsn : Lsn{})};
}

// That which is read through it; where none was yet, any that can be.
const Feed* SlotLags::feed_of(const Slot& slot) const {
    if (const Feed* read = find_feed(relay_, slot.feed)) return read;
    const auto found = std::find_if(relay_.feeds.begin(), relay_.feeds.end(), [&](const auto& feed) {
        return feed->config().database == slot.database;
    });
    return found == relay_.feeds.end() ? nullptr : found->get();
}

std::int64_t SlotLags::lag_bytes(const Slot& slot) const {
    if (slot.is_invalidated()) return 0;
    if (!slot.is_logical()) return lag_between(slot.position, received_wal(relay_));
    const Feed* feed = feed_of(slot);
    return feed == nullptr ? 0 : lag_between(slot.position, feed->mark().upto);
}

// A subscriber may go over to another feed of its database, so a slot counts for all of them (LogKeeper).
std::uint64_t SlotLags::retained_log_bytes(const Slot& slot) {
    if (slot.is_invalidated()) return 0;
    if (!slot.is_logical())
        return static_cast<std::uint64_t>(
            lag_between(slot.persisted ? slot.persisted : slot.position, received_wal(relay_)));
    std::uint64_t bytes = 0;
    for (const auto& feed : relay_.feeds)
        if (feed->config().database == slot.database)
            bytes += bytes_from(*feed, slot.temporary ? slot.position : slot.persisted);
    return bytes;
}

std::uint64_t SlotLags::bytes_from(const Feed& feed, Lsn position) {
    const auto [known, is_new] = known_.try_emplace({&feed, position}, 0);
    if (is_new) {
        const log::FeedPosition from = feed.log().find(position);
        known->second = bytes_between(from, feed.log().readable());
    }
    return known->second;
}

}  // namespace pgcascade::relay
