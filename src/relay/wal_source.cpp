#include "relay/wal_source.hpp"

#include <algorithm>

#include <fmt/format.h>

#include <pgcascade/error.hpp>

#include "protocol/backend_message.hpp"
#include "relay/refusal.hpp"

namespace pgcascade::relay {

namespace {

// A walsender's MAX_SEND_SIZE, 16 pages: a message ends with a page, but for the last one there is.
constexpr std::uint64_t kPageBytes = 8192;
constexpr std::uint64_t kLargestMessage = 16 * kPageBytes;

// Less than that is sent sooner through memory, in one piece with its header.
constexpr std::uint64_t kCopiedBytes = 2 * kPageBytes;

[[noreturn]] void throw_forked(log::WalPosition start, Lsn switch_point) {
    throw Refusal(fmt::format("requested starting point {} on timeline {} is not in this server's history",
                              start.lsn.to_string(), start.timeline.value),
                  "XX000",
                  fmt::format("This server's history forked from timeline {} at {}.", start.timeline.value,
                              switch_point.to_string()));
}

[[noreturn]] void throw_ahead(Lsn start, Lsn end) {
    throw ServerError(fmt::format("requested starting point {} is ahead of the WAL flush position of this "
                                  "server {}",
                                  start.to_string(), end.to_string()),
                      "XX000");
}

[[noreturn]] void throw_unknown(TimelineId timeline) {
    throw ServerError(fmt::format("requested timeline {} is not in this server's history", timeline.value),
                      "XX000");
}

[[noreturn]] void throw_removed(log::WalPosition position, std::uint64_t segment_bytes) {
    const log::WalDirectory names{{}, segment_bytes};
    const log::WalPosition start{position.timeline, names.segment_start(position.lsn)};
    throw ServerError(fmt::format("requested WAL segment {} has already been removed",
                                  names.complete_file(start).filename().string()),
                      "58P01");
}

// The upstream's history left the log's while this was being sent. What is out can't be taken back, and a
// message that is cut short must not be completed: the connection ends, and the client is told when it comes
// again.
[[noreturn]] void throw_cut() {
    throw boost::system::system_error{asio::error::connection_aborted};
}

}  // namespace

WalSource::WalSource(const Wal& wal, log::WalPosition start, Handlers handlers)
    : wal_(wal),
      segment_bytes_(wal.facts()->segment_bytes),
      timeline_(start.timeline),
      at_(start.lsn),
      handlers_(std::move(handlers)) {
    // Where it is ahead of the log, the client learns once the stream has begun, as from a walsender.
    if (timeline_ != wal.log()->readable().timeline) find_end();
}

// Up to where the client may be given something of its timeline.
Lsn WalSource::find_end() {
    const log::WalPosition readable = wal_.log()->readable();
    if (readable.timeline == timeline_) {
        if (at_ > readable.lsn) throw_ahead(at_, readable.lsn);
        return readable.lsn;
    }
    if (!next_) look_for_next();
    if (at_ > next_->switch_point) throw_forked({timeline_, at_}, next_->switch_point);
    has_ended_ = at_ == next_->switch_point;
    return next_->switch_point;
}

void WalSource::look_for_next() {
    const protocol::TimelineAncestry ancestry = wal_.ancestry();
    const auto switch_point = ancestry.switch_point(timeline_);
    if (!switch_point) throw_unknown(timeline_);
    next_ = {ancestry.timeline_at(*switch_point), *switch_point};
}

Lsn WalSource::end_of_message(Lsn end) const {
    const Lsn most{std::min(at_.value + kLargestMessage, segment_end_.value)};
    return end <= most ? end : Lsn{most.value - most.value % kPageBytes};
}

asio::awaitable<std::uint64_t> WalSource::send_some(Wire& wire) {
    const Lsn end = find_end();
    if (at_ >= end) co_return 0;
    if (!segment_ || at_ >= segment_end_) {
        segment_ = wal_.log()->segment_at(timeline_, at_);
        if (!segment_) throw_removed({timeline_, at_}, segment_bytes_);
        segment_end_ = {segment_->start().lsn.value + segment_bytes_};
    }
    const Lsn message_end = end_of_message(end);
    const std::uint64_t bytes = message_end.value - at_.value;
    const std::string header = to_bytes(protocol::XLogData{at_, end, now(), {}});
    protocol::append_copy_data_header(wire.out(), header.size() + bytes);
    wire.out() += header;
    if (bytes <= kCopiedBytes) {
        const std::size_t before = wire.out().size();
        wire.out().resize(before + bytes);
        if (segment_->read(at_, wire.out().data() + before, bytes) != bytes) throw_cut();
        co_await wire.flush();
    } else if (co_await wire.send_file(segment_->fd(), segment_->offset_of(at_), bytes) != bytes) {
        throw_cut();
    }
    at_ = message_end;
    co_return bytes;
}

void WalSource::on_status(const protocol::StandbyStatusUpdate& status) {
    handlers_.on_status({.written = std::min(status.written, at_),
                         .flushed = std::min(status.flushed, at_),
                         .applied = std::min(status.applied, at_),
                         .sent_at = status.sent_at});
}

void WalSource::on_feedback(const protocol::HotStandbyFeedback& feedback) {
    handlers_.on_feedback(feedback);
}

}  // namespace pgcascade::relay
