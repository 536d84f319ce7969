#include "relay/feed_source.hpp"

#include <algorithm>

#include "relay/frame_reader.hpp"

namespace pgcascade::relay {

namespace {

// A transaction may be larger than memory, and the loop's other sessions have their turn.
constexpr std::uint64_t kCopiedBytesAtOnce = 256 * 1024;

}  // namespace

asio::awaitable<std::uint64_t> FeedSource::send_some(Wire& wire) {
    const auto span = cursor_.next();
    if (!span) co_return 0;
    wire.out() += cursor_.take_definitions();
    if (!takes_all_) {
        const std::uint64_t taken = append_selected(*span, wire.out());
        cursor_.advance(taken);
        co_await wire.flush();
        co_return taken;
    }
    const std::uint64_t sent = co_await wire.send_file(span->segment->frames_fd(), span->offset, span->bytes);
    cursor_.advance(sent);
    // The upstream broke off the transaction, and the file was cut in the middle of a frame.
    if (!wire.is_whole()) throw boost::system::system_error{asio::error::connection_aborted};
    co_return sent;
}

std::uint64_t FeedSource::append_selected(const FeedCursor::Span& span, std::string& out) {
    const log::FeedPosition from = span.segment->position() + span.offset;
    FrameReader reader{*span.segment, from, from + span.bytes};
    std::uint64_t taken = 0;
    while (taken < kCopiedBytesAtOnce) {
        const auto frame = reader.next();
        if (!frame) break;
        taken += frame->bytes.size();
        filter_.take(*frame, out);
    }
    return taken;
}

void FeedSource::on_status(const protocol::StandbyStatusUpdate& status) {
    const Lsn given = cursor_.given();
    on_status_({.written = std::min(status.written, given),
                .flushed = std::min(status.flushed, given),
                .applied = std::min(status.applied, given),
                .sent_at = status.sent_at});
}

}  // namespace pgcascade::relay
