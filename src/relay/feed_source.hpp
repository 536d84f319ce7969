#pragma once

#include <functional>
#include <string>

#include "relay/feed_cursor.hpp"
#include "relay/replication_stream.hpp"

namespace pgcascade::relay {

// A feed's transactions, to one client: the frames as they lie in the log, from the file to the socket.
class FeedSource : public StreamSource {
  public:
    using OnStatus = std::function<void(const protocol::StandbyStatusUpdate&)>;

    // `on_status` is told what the client says, but nothing beyond what it was given.
    FeedSource(const Feed& feed, Lsn start, OnStatus on_status)
        : cursor_(feed, start), on_status_(std::move(on_status)) {}

    asio::awaitable<std::uint64_t> send_some(Wire& wire) override;
    Lsn given() const override { return cursor_.given(); }
    void on_status(const protocol::StandbyStatusUpdate& status) override;
    void on_feedback(const protocol::HotStandbyFeedback&) override {}  // concerns standbys only

  private:
    FeedCursor cursor_;
    OnStatus on_status_;
};

}  // namespace pgcascade::relay
