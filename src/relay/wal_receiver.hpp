#pragma once

#include <optional>
#include <string>

#include "postgres/physical_upstream.hpp"
#include "protocol/timeline_ancestry.hpp"
#include "relay/receiver.hpp"
#include "relay/slot_store.hpp"
#include "relay/wal.hpp"

namespace pgcascade::relay {

// Receives the WAL, follows the upstream from timeline to timeline, and tells it what the relay's standbys
// need of its rows.
class WalReceiver : public Receiver {
  public:
    WalReceiver(Wal& wal, const SlotStore& slots, std::chrono::milliseconds timeout, int stop_fd);

  private:
    std::unique_ptr<postgres::ReplicationConnection> open() override;
    bool take(std::string_view bytes) override;
    std::uint64_t gathered_bytes() const override;
    void write() override { wal_.log()->flush(); }
    void publish() override { wal_.on_news(); }
    void end_timeline(postgres::ReplicationConnection& connection) override;
    protocol::StandbyStatusUpdate position() override;
    void tell_more(postgres::ReplicationConnection& connection) override;

    void make_slot(postgres::ReplicationConnection& connection);
    void begin_log(postgres::ReplicationConnection& connection, const postgres::SystemIdentity& identity);
    protocol::TimelineAncestry fetch_histories(postgres::ReplicationConnection& connection,
                                               TimelineId timeline);
    void follow(const protocol::TimelineAncestry& upstream);
    void refuse_other_history(const protocol::TimelineAncestry& upstream) const;
    void cut_back(Lsn end, const protocol::TimelineAncestry& upstream);
    void go_over(TimelineId next, Lsn switch_point);
    void start(postgres::ReplicationConnection& connection);

    Wal& wal_;
    const SlotStore& slots_;
    SteadyTime horizon_due_;
};

}  // namespace pgcascade::relay
