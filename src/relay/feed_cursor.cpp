#include "relay/feed_cursor.hpp"

#include <algorithm>

#include <fmt/format.h>

#include <pgcascade/error.hpp>

#include "relay/feed_definitions.hpp"
#include "relay/frame_reader.hpp"

namespace pgcascade::relay {

using log::FeedPosition;

namespace {

// A client's reply requests are answered, and it is asked whether it lives, between two spans. One that is
// slow to apply a large transaction says nothing unless it is asked.
constexpr std::uint64_t kSpanBytes = 1 << 20;

// Of that many bytes, those which are whole frames; of a larger frame all of it.
std::uint64_t whole_frames(const log::FeedSegment& segment, FeedPosition from, std::uint64_t bytes) {
    FrameReader reader{segment, from, from + bytes};
    std::uint64_t whole = 0;
    while (whole < kSpanBytes) {
        const std::uint64_t next = reader.next_bytes();
        if (next == 0 || (whole > 0 && whole + next > kSpanBytes)) break;
        whole += next;
    }
    return whole == 0 ? bytes : std::min(whole, bytes);
}

}  // namespace

FeedCursor::FeedCursor(const Feed& feed, Lsn start) : feed_(feed), start_(start), cuts_(feed.log().cuts()) {
    check_reach();
    find_start();
}

void FeedCursor::check_reach() const {
    const auto facts = feed_.facts();
    const log::FeedLog& log = feed_.log();
    const auto first = log.segment_at(log.begin());
    const Lsn removed = first ? first->header().after : Lsn{};
    const bool reaches = facts && start_ >= facts->start && (!removed || start_ > removed);
    if (reaches) return;
    if (!facts)
        throw ServerError(fmt::format("feed \"{}\" has not reached its upstream yet", feed_.name()), "57P03",
                          feed_.problem());
    throw ServerError(fmt::format("feed \"{}\" does not reach back to {}: it begins after {}", feed_.name(),
                                  start_.to_string(), std::max(facts->start, removed).to_string()),
                      "58P01", "drop the slot, and make a new copy of the data from where the relay is now");
}

// Wherever it stands: the client may have been told of a position that the upstream has not come to again.
void FeedCursor::check_history() const {
    if (feed_.log().cuts() == cuts_) return;
    throw ServerError("the upstream was failed over to a server that lacks the last transactions", "08006",
                      "connect again: what it has follows");
}

// What is under way, or not even begun, may still lie below `start_` where that is ahead of the log: only
// once an entry is whole its place is known.
void FeedCursor::find_start() {
    const log::FeedLog& log = feed_.log();
    const auto last = log.last();
    const FeedPosition finished = last ? last->end : log.finished();
    const FeedPosition found = log.find(start_);
    const bool all_that_comes_is_wanted = start_ <= (last ? last->end_lsn : feed_.mark().upto);
    searched_ = finished;
    is_standing_ = found < finished || all_that_comes_is_wanted;
    place_ = found;
}

std::string FeedCursor::take_definitions() {
    if (!is_standing_ || has_definitions_) return {};
    has_definitions_ = true;
    const auto segment = feed_.log().segment_at(place_);
    return segment ? definitions_before(*segment, place_) : std::string{};
}

std::optional<FeedCursor::Span> FeedCursor::next() {
    const log::FeedLog& log = feed_.log();
    check_history();
    while (!is_standing_) {
        if (log.finished() == searched_) return std::nullopt;
        find_start();
    }
    for (;;) {
        const std::uint64_t abandoned = log.abandoned();
        const FeedPosition finished = log.finished();
        // Within an entry, or what was one: whether it was broken off, and has come again since, only the
        // count tells.
        if (!is_within_ && place_ <= finished) abandoned_ = abandoned;
        const FeedPosition readable = log.readable();
        if (!segment_ || segment_->end() <= place_) segment_ = log.segment_at(place_);
        if (!segment_)
            throw ServerError(
                fmt::format("what follows {} in feed \"{}\" was removed", given().to_string(), feed_.name()),
                "58P01");
        // Only now: the segment was taken before, so it holds what belongs to this entry.
        check_history();
        if (log.abandoned() != abandoned_) {
            if (!is_within_ && place_ <= finished) continue;
            throw ServerError("the upstream broke off the transaction that was being sent", "08006",
                              "connect again: it will be sent whole");
        }
        const FeedPosition end = std::min(readable, segment_->end());
        is_within_ = place_ > finished;
        if (end <= place_) return std::nullopt;
        Span span{segment_, bytes_between(segment_->position(), place_), bytes_between(place_, end)};
        if (span.bytes > kSpanBytes) {
            const auto entry = log.entry_before(place_ + kSpanBytes);
            span.bytes = entry && entry->end > place_ ? bytes_between(place_, entry->end)
                                                      : whole_frames(*segment_, place_, span.bytes);
        }
        is_within_ = place_ + span.bytes > finished;
        return span;
    }
}

Lsn FeedCursor::given() const {
    const Feed::Mark mark = feed_.mark();
    // Nothing that is wanted was found before searched_: where the upstream has read on, nothing else is
    // there.
    if (!is_standing_) return mark.place <= searched_ ? std::max(start_, mark.upto) : start_;
    if (place_ >= mark.place) return std::max(start_, mark.upto);
    const auto entry = feed_.log().entry_before(place_);
    return entry ? std::max(start_, entry->end_lsn) : start_;
}

}  // namespace pgcascade::relay
