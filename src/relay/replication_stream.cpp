#include "relay/replication_stream.hpp"

#include <algorithm>

#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fmt/format.h>

#include <pgcascade/error.hpp>

#include "protocol/backend_message.hpp"

namespace pgcascade::relay {

namespace {

constexpr std::size_t kLargestMessage = 64 * 1024;  // of a client that streams: status updates, nothing long
constexpr std::chrono::hours kLong{24};
constexpr std::chrono::milliseconds kTellSentInterval{100};
constexpr std::chrono::milliseconds kLongestTellInterval{1'000};
constexpr std::chrono::milliseconds kAskAgain{100};  // at the end, for what is still to be confirmed

// Of a stream that brings more than this, what comes in up to that time is sent together: to send it in small
// pieces, and to wake each client for each of them, would take most of the time. A slower one is never held
// up.
constexpr std::uint64_t kGatheredBytesAMillisecond = 2'000;
constexpr std::chrono::milliseconds kLongestGathering{20};

}  // namespace

ReplicationStream::ReplicationStream(Wire& wire, StreamSource& source, Bell& bell,
                                     std::chrono::milliseconds timeout, std::atomic<Lsn>& sent)
    : wire_(wire),
      source_(source),
      bell_(bell),
      timeout_(timeout),
      sent_(sent),
      wake_(wire.executor()),
      heard_(steady_now()) {}

asio::awaitable<ReplicationStream::End> ReplicationStream::run() {
    using namespace asio::experimental::awaitable_operators;
    protocol::append_copy_both_response(wire_.out());
    co_await wire_.flush();
    heard_ = steady_now();
    co_await (guarded(receive()) || guarded(send()) || guarded(watch()));
    if (failure_) std::rethrow_exception(failure_);
    co_return client_is_done_ ? End::kDone : End::kStopped;
}

// Whichever ends first, in good order or not, ends the others: what those say to that is not heard.
asio::awaitable<void> ReplicationStream::guarded(asio::awaitable<void> part) {
    std::exception_ptr failure;
    try {
        co_await std::move(part);
    } catch (...) {
        failure = std::current_exception();
    }
    if (!std::exchange(is_over_, true)) failure_ = failure;
}

void ReplicationStream::stop() {
    is_stopping_ = true;
    wake_.cancel();
}

void ReplicationStream::cancel() {
    is_cancelled_ = true;
    wake_.cancel();
}

// -- What the client says --

asio::awaitable<void> ReplicationStream::receive() {
    while (!client_is_done_) {
        const protocol::FrontendMessage message = co_await wire_.read_message(kLargestMessage);
        heard_ = steady_now();
        is_pinged_ = false;
        switch (message.type) {
            case 'd':
                take(message.body);
                break;
            case 'c':
                client_is_done_ = true;
                break;
            case 'X':
                throw boost::system::system_error{asio::error::eof};
            default:
                throw ProtocolError(fmt::format("invalid standby message type \"{}\"", message.type));
        }
        wake_.cancel();
    }
    asio::steady_timer until_sent{wire_.executor(), kLong};
    co_await until_sent.async_wait(asio::use_awaitable);
}

void ReplicationStream::take(std::string_view bytes) {
    const protocol::StandbyMessage message = protocol::parse_standby_message(bytes);
    if (const auto* feedback = std::get_if<protocol::HotStandbyFeedback>(&message))
        return source_.on_feedback(*feedback);
    const auto& status = std::get<protocol::StandbyStatusUpdate>(message);
    keepalive_wanted_ |= status.reply_requested;
    confirmed_ = std::max(confirmed_, status.flushed ? status.flushed : status.written);
    known_ = std::max({known_, status.flushed, status.written});
    source_.on_status(status);
}

// -- What it gets --

asio::awaitable<void> ReplicationStream::send() {
    const Bell::Listener listening{bell_, wake_};
    while (!client_is_done_ && !source_.has_ended()) {
        const std::uint64_t sent = co_await source_.send_some(wire_);
        sent_at_once_ += sent;
        if (sent > 0) tell_interval_ = kShortestTellInterval;
        tell_sent();
        append_keepalive_where_due();
        const bool has_waited = !wire_.out().empty();  // for the client to take it: much may have come
        co_await wire_.flush();
        if (is_cancelled_) throw ServerError("canceling statement due to user request", "57014");
        if (sent > 0 || has_waited || client_is_done_ || source_.has_ended()) continue;
        if (is_stopping_ && client_has_all()) co_return;
        const std::uint64_t burst = std::exchange(sent_at_once_, 0);
        if (burst >= kGatheredBytesAMillisecond) {
            co_await let_gather(burst);
            continue;
        }
        append_position_where_due();
        // Else it looks once more when that is out: who has woken it meanwhile has found nobody asleep.
        if (wire_.out().empty()) co_await sleep();
    }
    protocol::append_copy_done(wire_.out());
    co_await wire_.flush();
    while (!client_is_done_) {  // until it has ended its side, too
        if (is_cancelled_ || is_stopping_)
            throw ConnectionError("the client did not end a stream that had come to its end");
        wake_.expires_after(kLong);
        boost::system::error_code woken;
        co_await wake_.async_wait(asio::redirect_error(asio::use_awaitable, woken));
    }
}

void ReplicationStream::append_keepalive_where_due() {
    const bool is_due = timeout_.count() > 0 && steady_now() >= heard_ + timeout_ / 2;
    const bool asks_for_the_rest = is_stopping_ && steady_now() >= ask_due_;
    const bool must_ping = !is_pinged_ && (is_due || asks_for_the_rest);
    if (!must_ping && !keepalive_wanted_) return;
    append_keepalive(must_ping);
    is_pinged_ |= must_ping;
    if (must_ping) ask_due_ = steady_now() + kAskAgain;
}

// A subscriber that gets nothing, for nothing concerns it, must learn how far its upstream is all the same:
// the copy of a table waits for that, and so does whoever looks at its slot. Source: walsender.c,
// WalSndWaitForWal.
void ReplicationStream::append_position_where_due() {
    if (!source_.tells_given()) return;
    const Lsn given = source_.given();
    is_untold_ = given > std::max(told_, known_);
    if (!is_untold_ || steady_now() < tell_due_) return;
    append_keepalive(false);
    is_untold_ = false;
    tell_interval_ = std::min(tell_interval_ * 5 / 4, kLongestTellInterval);
}

void ReplicationStream::append_keepalive(bool reply_requested) {
    told_ = source_.given();
    protocol::append_copy_data(wire_.out(),
                               to_bytes(protocol::PrimaryKeepalive{
                                   .wal_end = told_, .sent_at = now(), .reply_requested = reply_requested}));
    keepalive_wanted_ = false;
    tell_due_ = steady_now() + tell_interval_;
}

// To know it, a lock of the feed is taken, or its index read: not for every message of every session.
void ReplicationStream::tell_sent() {
    is_sent_told_ = steady_now() >= sent_due_;
    if (!is_sent_told_) return;
    sent_.store(source_.given(), std::memory_order_relaxed);
    sent_due_ = steady_now() + kTellSentInterval;
}

asio::awaitable<void> ReplicationStream::let_gather(std::uint64_t burst) {
    const std::chrono::milliseconds pause{burst / kGatheredBytesAMillisecond};
    asio::steady_timer timer{wire_.executor(), std::min(pause, kLongestGathering)};
    co_await timer.async_wait(asio::use_awaitable);
}

// Until the bell rings, the client says something, or it is time to ask whether it lives, or to tell
// operators.
asio::awaitable<void> ReplicationStream::sleep() {
    const bool asks = timeout_.count() > 0 && !is_pinged_;
    SteadyTime until = asks ? heard_ + timeout_ / 2 : steady_now() + kLong;
    if (!is_sent_told_) until = std::min(until, sent_due_);
    if (is_stopping_ && !is_pinged_) until = std::min(until, ask_due_);
    if (is_untold_) until = std::min(until, tell_due_);
    wake_.expires_at(until);
    boost::system::error_code cancelled;
    co_await wake_.async_wait(asio::redirect_error(asio::use_awaitable, cancelled));
}

// Beside sending, which may be stuck: a client that reads nothing says nothing either.
asio::awaitable<void> ReplicationStream::watch() {
    asio::steady_timer timer{wire_.executor()};
    for (;;) {
        timer.expires_at(timeout_.count() > 0 ? heard_ + timeout_ : steady_now() + kLong);
        co_await timer.async_wait(asio::use_awaitable);
        if (timeout_.count() > 0 && steady_now() >= heard_ + timeout_)
            throw ConnectionError("terminating walsender process due to replication timeout");
    }
}

}  // namespace pgcascade::relay
