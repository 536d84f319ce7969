#include "relay/receiver.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include <fmt/format.h>
#include <poll.h>

#include "base/diagnostics.hpp"
#include "base/file.hpp"
#include "base/stop_signal.hpp"

namespace pgcascade::relay {

using std::chrono::milliseconds;

namespace {

constexpr milliseconds kLongestBackoff{10'000};
constexpr milliseconds kPositionInterval{10'000};
constexpr milliseconds kPatienceAtTheEnd{2'000};
constexpr milliseconds kLookForRoom{1'000};
constexpr std::int64_t kNanosecondsASecond = 1'000'000'000;
constexpr std::uint64_t kGatheredBytes = 256 * 1024;
constexpr int kManyBytes = 32 * 1024;

// As libpqrcv_get_senderinfo() tells a standby: of several hosts the one in use.
IncomingLog::Sender sender_of(PGconn* connection) {
    return {PQhost(connection), PQport(connection)};
}

}  // namespace

Receiver::Receiver(IncomingLog& log, milliseconds timeout, int stop_fd)
    : log_(log),
      timeout_(timeout),
      stop_fd_(stop_fd),
      backoff_(kLongestBackoff, static_cast<std::uint32_t>(std::hash<std::string>{}(log.label()))) {}

void Receiver::run() {
    try {
        for (;;) receive();
    } catch (const Stopped&) {
        if (connection_) connection_->end(kPatienceAtTheEnd);
    }
}

// One connection, from the login until it breaks and the time to try again has come.
void Receiver::receive() {
    try {
        connection_ = open();
        log_.set_sender(sender_of(connection_->commands().native()));
        position_due_ = heard_ = steady_now();
        is_pinged_ = true;  // with the first position: only who answers has taken the stream up
        for (;;) {
            take_arrived();
            wait();
            if (!log_.is_full()) connection_->consume_input();
        }
    } catch (const LogCorrupt&) {
        throw;
    } catch (const SystemError& problem) {
        if (!is_out_of_room(problem)) throw;
        break_off(problem);
    } catch (const Stopped&) {
        throw;
    } catch (const Error& problem) {
        break_off(problem);
    }
}

// What was whole before the end came is kept: the next session goes on behind it.
void Receiver::break_off(const Error& problem) {
    connection_.reset();
    log_.set_sender(std::nullopt);
    log_.traffic.is_connected = false;
    wait_for_room_to([this] { abandon_session(); });
    if (gathered_bytes() > 0)
        write_and_publish();
    else
        log_.on_news();
    pause(problem);
}

// All that libpq holds becomes readable at once.
void Receiver::take_arrived() {
    bool has_news = false;
    bool has_heard = false;
    while (const auto bytes = connection_->receive()) {
        has_heard = true;
        log_.traffic.on_received(bytes->size());
        has_news |= take(*bytes);
        if (gathered_bytes() >= kGatheredBytes) write_and_publish();
    }
    if (has_news) write_and_publish();
    if (has_heard) {
        heard_ = steady_now();
        is_pinged_ = false;
        backoff_.reset();
        log_.set_problem({});
        if (!log_.traffic.is_connected) log_.traffic.on_connected();
    }
    if (connection_->timeline_has_ended()) {
        send_position();
        end_timeline(*connection_);
    }
    if (steady_now() >= position_due_ || reply_requested_ || is_more_durable_) send_position();
}

void Receiver::write_and_publish() {
    wait_for_room_to([this] { write(); });
    publish();
}

// On a full disk it waits for room, and receives nothing meanwhile: what was gathered is kept.
void Receiver::wait_for_room_to(const std::function<void()>& write) {
    for (bool has_waited = false;; has_waited = true) {
        try {
            write();
            if (has_waited) inform("there is room on the disk again");
            return;
        } catch (const SystemError& problem) {
            if (!is_out_of_room(problem)) throw;
            wait_for_room(problem);
        }
    }
}

void Receiver::must_succeed(const std::function<void()>& change) {
    try {
        change();
    } catch (const SystemError& problem) {
        throw SystemError(problem.what(), 0, "mend that, or make room, and start the relay again");
    }
}

void Receiver::wait_for_room(const SystemError& problem) {
    tell(problem, "receiving goes on once there is room");
    wait_for(/*fd=*/-1, 0, static_cast<int>(kLookForRoom.count()), stop_fd_);
    if (connection_) send_position();  // that the upstream does not take the relay for dead
    heard_ = steady_now();
}

void Receiver::send_position() {
    protocol::StandbyStatusUpdate update = position();
    update.sent_at = now();
    update.reply_requested = is_pinged_;
    connection_->send(update);
    tell_more(*connection_);
    reply_requested_ = is_more_durable_ = false;
    position_due_ = steady_now() + kPositionInterval;
}

// Under load it does not look at the socket for a moment, so that messages gather, unless many have.
void Receiver::wait() {
    if (log_.is_full()) {
        heard_ = steady_now();  // it is we who do not listen
        return poll(/*socket=*/-1, kLookForRoom);
    }
    check_is_alive();
    const SteadyTime::duration pause = pacing_.pause(steady_now());
    if (pause.count() > 0 && connection_->arrived_bytes() < kManyBytes) poll(/*socket=*/-1, pause);
    poll(connection_->socket(), next_look() - steady_now());
    pacing_.has_read(steady_now());
}

SteadyTime Receiver::next_look() const {
    if (timeout_.count() == 0) return position_due_;
    return std::min(position_due_, heard_ + (is_pinged_ ? timeout_ : timeout_ / 2));
}

// Asked after half the time-out, as walreceiver.c does it: a connection whose other end is gone without a
// word says nothing for ever.
void Receiver::check_is_alive() {
    if (timeout_.count() == 0 || steady_now() < heard_ + timeout_ / 2) return;
    if (connection_->arrived_bytes() > 0) return;
    if (steady_now() >= heard_ + timeout_)
        throw ConnectionError(
            fmt::format("{}: nothing has come for {} ms", connection_->name(), timeout_.count()),
            "the server or the network is gone, or the server hangs");
    if (std::exchange(is_pinged_, true)) return;
    send_position();
}

void Receiver::poll(int socket, SteadyTime::duration patience) {
    std::array<pollfd, 3> waited{{{socket, POLLIN, 0}, {durable_.fd(), POLLIN, 0}, {stop_fd_, POLLIN, 0}}};
    const auto left = std::max<std::int64_t>(0, std::chrono::nanoseconds{patience}.count());
    const timespec timeout{left / kNanosecondsASecond, left % kNanosecondsASecond};
    ::ppoll(waited.data(), waited.size(), &timeout, nullptr);
    if (waited[1].revents != 0) {
        durable_.clear();
        is_more_durable_ = true;
    }
    if (waited[2].revents != 0) throw Stopped();
}

void Receiver::pause(const Error& problem) {
    tell(problem, "trying again");
    wait_for(/*fd=*/-1, 0, static_cast<int>(backoff_.next().count()), stop_fd_);
}

// Once, however often it comes.
void Receiver::tell(const Error& problem, const char* what_now) {
    if (log_.problem() == problem.what()) return;
    diagnostics::warning(fmt::format("{}: {}; {}", log_.label(), problem.what(), what_now), problem.hint(),
                         log_.about({{"sqlstate", diagnostics::sqlstate_of(problem)}}));
    log_.set_problem(problem.what());
}

void Receiver::inform(const std::string& text, diagnostics::Fields more) const {
    diagnostics::info(fmt::format("{}: {}", log_.label(), text), log_.about(std::move(more)));
}

void Receiver::warn(const std::string& text, const std::string& hint, diagnostics::Fields more) const {
    diagnostics::warning(fmt::format("{}: {}", log_.label(), text), hint, log_.about(std::move(more)));
}

}  // namespace pgcascade::relay
