#pragma once

#include <functional>
#include <string>

#include "relay/feed_cursor.hpp"
#include "relay/feed_filter.hpp"
#include "relay/replication_stream.hpp"

namespace pgcascade::relay {

// A feed's transactions, to one client: the frames as they lie in the log, from the file to the socket.
class FeedSource : public StreamSource {
  public:
    using OnStatus = std::function<void(const protocol::StandbyStatusUpdate&)>;

    // `on_status` is told what the client says, but nothing beyond what it was given.
    // What is left of a selection is copied, not sent from the file.
    FeedSource(const Feed& feed, Lsn start, const FeedSelection& selection, OnStatus on_status)
        : cursor_(feed, start),
          takes_all_(selection.is_all()),
          filter_(selection),
          on_status_(std::move(on_status)) {}

    asio::awaitable<std::uint64_t> send_some(Wire& wire) override;
    Lsn given() const override { return cursor_.given(); }
    bool tells_given() const override { return true; }
    void on_status(const protocol::StandbyStatusUpdate& status) override;
    void on_feedback(const protocol::HotStandbyFeedback&) override {}  // concerns standbys only

  private:
    std::uint64_t append_selected(const FeedCursor::Span& span, std::string& out);

    FeedCursor cursor_;
    const bool takes_all_;
    FeedFilter filter_;
    OnStatus on_status_;
};

}  // namespace pgcascade::relay
