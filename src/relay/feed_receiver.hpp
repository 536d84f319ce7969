#pragma once

#include <pgcascade/lsn.hpp>

#include "relay/feed.hpp"
#include "relay/receiver.hpp"
#include "relay/slot_store.hpp"

namespace pgcascade::relay {

// Receives a feed, and follows its upstream's timelines. The slots are those that the feed is read through,
// among others.
class FeedReceiver : public Receiver {
  public:
    FeedReceiver(Feed& feed, SlotStore& slots, std::chrono::milliseconds timeout, int stop_fd)
        : Receiver(feed, timeout, stop_fd), feed_(feed), slots_(slots) {}

  private:
    std::unique_ptr<postgres::ReplicationConnection> open() override;
    bool take(std::string_view bytes) override;
    std::uint64_t gathered_bytes() const override { return feed_.log().gathered_bytes(); }
    void write() override { feed_.log().flush(); }
    void publish() override;
    void abandon_session() override { feed_.writer().start_session(); }
    protocol::StandbyStatusUpdate position() override;
    void tell_more(postgres::ReplicationConnection& connection) override;

    void follow(postgres::ReplicationConnection& connection, const postgres::SystemIdentity& upstream,
                const std::string& run);
    std::optional<Lsn> find_switch_point(postgres::ReplicationConnection& connection, TimelineId upstream);
    void cut_back(Lsn end, TimelineId upstream);
    void look_at_timeline(postgres::ReplicationConnection& connection);

    Feed& feed_;
    SlotStore& slots_;
    Lsn received_;
    Lsn reported_;                      // as flushed
    SteadyTime position_due_;           // when a keepalive's position may be put into the log again
    bool may_change_timeline_ = false;  // within the session
    SteadyTime look_due_;               // whether it has
};

}  // namespace pgcascade::relay
