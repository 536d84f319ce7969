#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "protocol/timeline_ancestry.hpp"
#include "relay/replication_stream.hpp"
#include "relay/wal.hpp"

namespace pgcascade::relay {

// WAL to one client, from the log's files to the socket: in messages as a walsender cuts them. Source:
// PostgreSQL, replication/walsender.c, XLogSendPhysical.
class WalSource : public StreamSource {
  public:
    struct Handlers {
        // What the client says, but nothing beyond what it was given.
        std::function<void(const protocol::StandbyStatusUpdate&)> on_status;
        std::function<void(const protocol::HotStandbyFeedback&)> on_feedback;
    };

    // The upstream must have been reached once. Throws ServerError, with a walsender's words, where the log's
    // history does not have that position.
    WalSource(const Wal& wal, log::WalPosition start, Handlers handlers);

    // Throws ServerError where the log no longer has what comes next, or where it turned out that the
    // upstream's history does not go on so.
    asio::awaitable<std::uint64_t> send_some(Wire& wire) override;

    // All of a timeline was given that another one follows.
    bool has_ended() const override { return has_ended_; }
    struct Next {
        TimelineId timeline;
        Lsn switch_point;
    };
    const std::optional<Next>& next_timeline() const { return next_; }

    Lsn given() const override { return at_; }
    void on_status(const protocol::StandbyStatusUpdate& status) override;
    void on_feedback(const protocol::HotStandbyFeedback& feedback) override;

  private:
    Lsn find_end();
    void look_for_next();
    Lsn end_of_message(Lsn end) const;

    const Wal& wal_;
    const std::uint64_t segment_bytes_;
    const TimelineId timeline_;
    Lsn at_;
    Handlers handlers_;
    std::shared_ptr<const log::WalSegment> segment_;  // that at_ was last found in
    Lsn segment_end_;
    std::optional<Next> next_;
    bool has_ended_ = false;
};

}  // namespace pgcascade::relay
