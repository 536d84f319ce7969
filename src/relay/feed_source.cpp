#include "relay/feed_source.hpp"

#include <algorithm>

namespace pgcascade::relay {

asio::awaitable<std::uint64_t> FeedSource::send_some(Wire& wire) {
    const auto span = cursor_.next();
    if (!span) co_return 0;
    wire.out() += cursor_.take_definitions();
    const std::uint64_t sent = co_await wire.send_file(span->segment->frames_fd(), span->offset, span->bytes);
    cursor_.advance(sent);
    co_return sent;
}

void FeedSource::on_status(const protocol::StandbyStatusUpdate& status) {
    const Lsn given = cursor_.given();
    on_status_({.written = std::min(status.written, given),
                .flushed = std::min(status.flushed, given),
                .applied = std::min(status.applied, given),
                .sent_at = status.sent_at});
}

}  // namespace pgcascade::relay
