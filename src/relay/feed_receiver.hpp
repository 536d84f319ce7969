#pragma once

#include <pgcascade/lsn.hpp>

#include "relay/feed.hpp"
#include "relay/receiver.hpp"

namespace pgcascade::relay {

// Receives a feed.
class FeedReceiver : public Receiver {
  public:
    FeedReceiver(Feed& feed, std::chrono::milliseconds timeout, int stop_fd)
        : Receiver(feed, timeout, stop_fd), feed_(feed) {}

  private:
    std::unique_ptr<postgres::ReplicationConnection> open() override;
    bool take(std::string_view bytes) override;
    std::uint64_t gathered_bytes() const override { return feed_.log().gathered_bytes(); }
    void write() override { feed_.log().flush(); }
    void publish() override;
    void abandon_session() override { feed_.writer().start_session(); }
    protocol::StandbyStatusUpdate position() override;

    Feed& feed_;
    Lsn received_;
    Lsn reported_;             // as flushed
    SteadyTime position_due_;  // when a keepalive's position may be put into the log again
};

}  // namespace pgcascade::relay
