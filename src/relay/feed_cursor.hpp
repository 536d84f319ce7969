#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include <pgcascade/lsn.hpp>

#include "relay/feed.hpp"

namespace pgcascade::relay {

// Where one session stands in a feed, and what it gets next. Reads files; never waits. One thread.
//
// It gives the bytes of a transaction as they come, before the transaction is whole. Where the upstream's
// connection breaks in the middle, what was given can't be taken back: the session must end, and its client
// starts again from the commit before.
class FeedCursor {
  public:
    // Begins with the first transaction whose commit record does not start below `start`, whether it is
    // there already or not. Throws ServerError where the log does not reach back to there.
    FeedCursor(const Feed& feed, Lsn start);

    // Frames to be sent before anything else: the relations and types in force where it stands. Empty until
    // it stands somewhere, and from the second call on. Throws LogCorrupt, SystemError.
    std::string take_definitions();

    // Bytes of a file that come next, whole frames; nothing: wait for the feed's news. Throws ServerError
    // where the transaction that it stands in was broken off, the log was cut back, or its place in the log
    // was removed.
    struct Span {
        std::shared_ptr<const log::FeedSegment> segment;
        std::uint64_t offset = 0;
        std::uint64_t bytes = 0;
    };
    std::optional<Span> next();
    void advance(std::uint64_t bytes) { place_ = place_ + bytes; }

    // The end of the last transaction that was given whole, or beyond it where nothing follows: what a
    // keepalive may say, for the client takes that as flushed.
    Lsn given() const;

    bool stands() const { return is_standing_; }
    log::FeedPosition place() const { return place_; }

  private:
    void find_start();
    void check_reach() const;
    void check_history() const;

    const Feed& feed_;
    const Lsn start_;
    const std::uint64_t cuts_;  // the log's count when `start_` was chosen
    bool is_standing_ = false;  // false: all that is there is below `start_`
    bool has_definitions_ = false;
    log::FeedPosition place_;
    std::shared_ptr<const log::FeedSegment> segment_;  // that place_ was last found in
    log::FeedPosition searched_;   // no entry that begins below it is what find_start() looks for
    std::uint64_t abandoned_ = 0;  // the log's count when place_ was not yet behind finished()
    bool is_within_ = false;       // place_ may be, or come to be, behind what was finished then
};

}  // namespace pgcascade::relay
