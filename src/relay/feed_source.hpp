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
    // `only_local`: without the transactions that the upstream itself has received from elsewhere; these are
    // copied, not sent from the file.
    FeedSource(const Feed& feed, Lsn start, bool only_local, OnStatus on_status)
        : cursor_(feed, start), only_local_(only_local), on_status_(std::move(on_status)) {}

    asio::awaitable<std::uint64_t> send_some(Wire& wire) override;
    Lsn given() const override { return cursor_.given(); }
    void on_status(const protocol::StandbyStatusUpdate& status) override;
    void on_feedback(const protocol::HotStandbyFeedback&) override {}  // concerns standbys only

  private:
    std::uint64_t append_local(const FeedCursor::Span& span, std::string& out);

    FeedCursor cursor_;
    const bool only_local_;
    std::string begin_;         // of a transaction that may yet turn out to have an origin
    bool is_skipping_ = false;  // one that has
    OnStatus on_status_;
};

}  // namespace pgcascade::relay
