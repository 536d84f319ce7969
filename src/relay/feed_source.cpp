#include "relay/feed_source.hpp"

#include <algorithm>
#include <utility>

#include "relay/feed_message.hpp"
#include "relay/frame_reader.hpp"

namespace pgcascade::relay {

asio::awaitable<std::uint64_t> FeedSource::send_some(Wire& wire) {
    const auto span = cursor_.next();
    if (!span) co_return 0;
    wire.out() += cursor_.take_definitions();
    if (only_local_) {
        const std::uint64_t taken = append_local(*span, wire.out());
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

// Relations and types are announced once, whatever the transaction: they are never left out.
std::uint64_t FeedSource::append_local(const FeedCursor::Span& span, std::string& out) {
    using Kind = FeedMessage::Kind;
    const log::FeedPosition from = span.segment->position() + span.offset;
    FrameReader reader{*span.segment, from, from + span.bytes};
    std::uint64_t taken = 0;
    while (const auto frame = reader.next()) {
        taken += frame->bytes.size();
        const Kind kind = frame->payload.empty() ? Kind::kChange : read_feed_message(frame->payload).kind;
        if (kind == Kind::kBegin) {
            begin_ = frame->bytes;
        } else if (kind == Kind::kRelation || kind == Kind::kType) {
            out += frame->bytes;
        } else if (kind == Kind::kOrigin) {
            begin_.clear();
            is_skipping_ = true;
        } else if (is_skipping_) {
            is_skipping_ = kind != Kind::kCommit;
        } else {
            out += std::exchange(begin_, {});
            out += frame->bytes;
        }
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
