#include <algorithm>
#include <condition_variable>
#include <csignal>
#include <exception>
#include <mutex>
#include <random>
#include <thread>

#include <fmt/format.h>
#include <poll.h>

#include <pgcascade/stream.hpp>

#include "base/clock.hpp"
#include "base/stop_signal.hpp"
#include "pgoutput/decoder.hpp"
#include "postgres/backoff.hpp"
#include "postgres/healing.hpp"
#include "postgres/logical_session.hpp"
#include "postgres/pacing.hpp"
#include "stream/progress.hpp"
#include "stream/readiness.hpp"
#include "stream/stream_options.hpp"

namespace pgcascade {

using std::chrono::milliseconds;

namespace {

// How long a slot may be held by another session at the start: a process that was killed leaves its walsender
// behind for a moment.
constexpr milliseconds kBusySlotAtStart{5'000};

// Silence of a server that has a wal_sender_timeout, and so promises to be heard: at least this long.
constexpr milliseconds kPatienceMin{30'000};

// A server that shuts down asks again and again until everything is confirmed; it is answered this often.
constexpr milliseconds kAnswerInterval{50};

// Feedback that says nothing new goes out this often at most. A sender whose segment is larger than our
// receive window (on a loopback interface, after many small messages) waits for its persist timer, 200 ms or
// more, and each packet of ours that acknowledges nothing sets that timer back.
constexpr milliseconds kQuietInterval{250};

// As much as libpq reads at once (fe-misc.c pqReadData).
constexpr int kWorthReading = 16'384;

constexpr milliseconds kCloseOnDestruction{1'000};

constexpr std::string_view kUndefinedObject = "42704";

class Unlocked {
  public:
    explicit Unlocked(std::unique_lock<std::mutex>& lock) : lock_(lock) { lock_.unlock(); }
    Unlocked(const Unlocked&) = delete;
    Unlocked& operator=(const Unlocked&) = delete;
    ~Unlocked() { lock_.lock(); }

  private:
    std::unique_lock<std::mutex>& lock_;
};

// libpq breaks its longer messages into lines, indented by tabs.
std::string in_one_line(std::string text) {
    std::erase(text, '\t');
    std::replace(text.begin(), text.end(), '\n', ' ');
    return text;
}

// What the consumer's callback throws is dropped: a notice is no reason to end the stream, and libpq, within
// which some come, can't be left by an exception.
StreamOptions with_safe_notices(StreamOptions options) {
    if (!options.on_notice) return options;
    options.on_notice = [tell = std::move(options.on_notice)](const std::string& text) {
        try {
            tell(text);
        } catch (...) {
        }
    };
    return options;
}

bool is_lone_message(const Change& change) {
    return change.operation == Operation::kMessage && !change.transactional;
}

int milliseconds_until(SteadyTime time) {
    return static_cast<int>(
        std::max<milliseconds::rep>(0, std::chrono::ceil<milliseconds>(time - steady_now()).count()));
}

bool is_readable(int fd) {
    pollfd poll_fd{fd, POLLIN, 0};
    return fd >= 0 && ::poll(&poll_fd, 1, 0) == 1;
}

}  // namespace

class ChangeStream::Impl {
  public:
    explicit Impl(StreamOptions options);
    ~Impl() { close(kCloseOnDestruction); }

    const Change* next(bool may_wait);
    void confirm(Lsn end);
    void flush_confirmed();
    bool close(milliseconds timeout);

    bool at_end() const { return ended_; }
    int fileno() const { return readiness_.fd(); }
    Lsn confirmed() const {
        const std::lock_guard lock{mutex_};
        return reported_;
    }
    Lsn received() const {
        const std::lock_guard lock{mutex_};
        return progress_.received();
    }

  private:
    using Lock = std::unique_lock<std::mutex>;

    postgres::LogicalSession open_first();
    void adopt(postgres::LogicalSession session);
    void reconnect(Lock& lock);
    void lose(const Error& problem);
    bool heals_in_time(const Error& problem);
    void notice(const std::string& text) const;

    const Change* next_in_session(Lock& lock, bool may_wait);
    const Change* next_received();
    std::optional<std::string_view> receive();
    const Change* take(std::string_view message);
    bool is_beyond_until(const Change& change) const;
    void take_keepalive(const protocol::PrimaryKeepalive& keepalive);
    bool wait_for_server(Lock& lock, bool may_wait);
    void let_messages_gather();

    void start_feedback();
    void run_feedback();
    void send_feedback(bool ask);
    void hasten_feedback(SteadyTime time);
    void answer_soon();

    StreamOptions options_;
    pgoutput::Decoder decoder_;
    Readiness readiness_;
    postgres::Backoff backoff_;

    // The feedback thread shares the libpq connection, and the positions it reports, with the consumer's
    // thread: a connection may be used by one thread at a time, and feedback must go out while the consumer
    // is busy. The consumer's thread holds the mutex while it takes a message, never while it waits, connects
    // or is the consumer, so nobody ever waits for it longer than a message takes.
    mutable std::mutex mutex_;
    Progress progress_;
    std::unique_ptr<postgres::ReplicationConnection>
        connection_;  // null: lost, to be made again at retry_at_
    Lsn reported_;
    milliseconds feedback_interval_{};
    milliseconds quiet_interval_{};
    SteadyTime feedback_due_;
    SteadyTime feedback_sent_;
    bool server_waits_ = false;  // it has asked for a confirmation that could not be given yet
    bool closing_ = false;
    std::condition_variable feedback_changed_;
    std::thread feedback_;

    // Of the consumer's thread alone.
    std::string server_name_;
    std::string system_identifier_;
    postgres::Pacing pacing_;
    int patience_ms_ = -1;  // how long the server may be silent; -1: for ever
    SteadyTime heard_at_;
    SteadyTime retry_at_;
    std::optional<SteadyTime> busy_until_;
    std::exception_ptr failure_;
    bool at_last_ = false;  // what was handed out last is the end
    bool ended_ = false;
    bool closed_well_ = false;
};

ChangeStream::Impl::Impl(StreamOptions options)
    : options_(with_safe_notices(std::move(options))),
      readiness_(options_.stop_fd),
      backoff_(options_.max_backoff, std::random_device{}()),
      progress_(Lsn{}, Lsn{}) {
    check_options(options_);
    postgres::LogicalSession session = open_first();
    progress_ = Progress{session.confirmed, options_.from};
    reported_ = session.confirmed;
    system_identifier_ = session.system_identifier;
    if (options_.until && options_.until <= progress_.resume_at()) ended_ = true;
    adopt(std::move(session));
    start_feedback();
}

postgres::LogicalSession ChangeStream::Impl::open_first() {
    const SteadyTime deadline = steady_now() + kBusySlotAtStart;
    for (bool told = false;;) {
        try {
            return postgres::open_session(options_, std::nullopt);
        } catch (const ServerError& problem) {
            if (postgres::healing_of(problem) != postgres::Healing::kSoon || steady_now() >= deadline) throw;
            if (!told)
                notice(fmt::format("{}; waiting up to {} s for it", problem.what(),
                                   kBusySlotAtStart / std::chrono::seconds{1}));
            told = true;
        }
        wait_for(/*fd=*/-1, 0, static_cast<int>(backoff_.next().count()), options_.stop_fd);
    }
}

void ChangeStream::Impl::adopt(postgres::LogicalSession session) {
    connection_ = std::move(session.connection);
    server_name_ = connection_->name();
    readiness_.watch(connection_->socket());

    // Three chances to be heard before the server gives up.
    const milliseconds timeout = session.server.wal_sender_timeout;
    feedback_interval_ = options_.status_interval;
    if (timeout.count() > 0)
        feedback_interval_ =
            std::clamp(feedback_interval_, milliseconds{1}, std::max(timeout / 4, milliseconds{1}));
    quiet_interval_ = kQuietInterval;
    if (timeout.count() > 0)
        quiet_interval_ = std::min(kQuietInterval, std::max(timeout / 4, milliseconds{1}));
    patience_ms_ = -1;
    if (timeout.count() > 0)
        patience_ms_ = static_cast<int>(std::max(timeout, kPatienceMin + 2 * feedback_interval_).count());
    busy_until_.reset();

    decoder_.start_session();
    progress_.start_session();
    server_waits_ = false;
    heard_at_ = steady_now();
    feedback_due_ = heard_at_;
    feedback_changed_.notify_one();
}

const Change* ChangeStream::Impl::next(bool may_wait) {
    Lock lock{mutex_};
    if (failure_) std::rethrow_exception(failure_);
    if (options_.confirm == Confirm::kAutomatic) progress_.confirm_delivered();
    if (at_last_) ended_ = true;
    while (!ended_) {
        try {
            if (!connection_) {
                if (!may_wait && steady_now() < retry_at_ && !is_readable(options_.stop_fd)) return nullptr;
                reconnect(lock);
            }
            const Change* const change = next_in_session(lock, may_wait);
            if (change != nullptr || !may_wait) return change;
        } catch (const Stopped&) {
            ended_ = true;
        } catch (const Error& problem) {
            lose(problem);
        } catch (...) {
            connection_.reset();
            failure_ = std::current_exception();
            throw;
        }
    }
    return nullptr;
}

// Null: nothing is there, or the stream has ended.
const Change* ChangeStream::Impl::next_in_session(Lock& lock, bool may_wait) {
    for (;;) {
        const Change* const change = next_received();
        if (change != nullptr || ended_) return change;
        if (!wait_for_server(lock, may_wait)) return nullptr;
        connection_->consume_input();
    }
}

// From what libpq holds already. Null: it holds nothing whole, or the stream has ended.
const Change* ChangeStream::Impl::next_received() {
    while (const std::optional<std::string_view> message = receive()) {
        const Change* const change = take(*message);
        if (change != nullptr || ended_) return change;
    }
    return nullptr;
}

std::optional<std::string_view> ChangeStream::Impl::receive() {
    try {
        return connection_->receive();
    } catch (const ServerError& problem) {
        // The publications were there when the session began, or it would not have begun.
        if (problem.sqlstate() != kUndefinedObject || !problem.hint().empty()) throw;
        throw ServerError(
            problem.what(), problem.sqlstate(),
            "the server looks a publication up as it was when the change was made: it was dropped "
            "since, or the slot is older than the publication; drop the slot and make it anew, or go "
            "on --from a position after CREATE PUBLICATION");
    }
}

const Change* ChangeStream::Impl::take(std::string_view message) {
    const protocol::ServerMessage parsed = protocol::parse_server_message(message);
    const auto* data = std::get_if<protocol::XLogData>(&parsed);
    if (data == nullptr) {
        take_keepalive(std::get<protocol::PrimaryKeepalive>(parsed));
        return nullptr;
    }
    const Change* const change = decoder_.decode(data->payload, data->wal_start);
    progress_.received(data->wal_start);
    if (change == nullptr) return nullptr;
    if (is_beyond_until(*change)) {
        ended_ = true;
        return nullptr;
    }
    if (!progress_.admit(*change)) return nullptr;
    backoff_.reset();
    at_last_ = options_.until && change->operation == Operation::kCommit && change->end_lsn >= options_.until;
    return change;
}

bool ChangeStream::Impl::is_beyond_until(const Change& change) const {
    if (!options_.until) return false;
    if (change.operation == Operation::kBegin) return change.commit_lsn >= options_.until;
    return is_lone_message(change) && change.lsn >= options_.until;
}

void ChangeStream::Impl::take_keepalive(const protocol::PrimaryKeepalive& keepalive) {
    progress_.keepalive(keepalive.wal_end);
    backoff_.reset();
    if (options_.until && !progress_.in_transaction() && keepalive.wal_end >= options_.until) ended_ = true;
    if (keepalive.reply_requested) answer_soon();
}

// A server that shuts down waits until all it has sent is confirmed. What can be confirmed is confirmed at
// once; where the consumer is not done, the server would answer each answer with the next question, as fast
// as both can.
void ChangeStream::Impl::answer_soon() {
    server_waits_ = true;
    if (progress_.all_confirmed()) return send_feedback(/*ask=*/false);
    hasten_feedback(feedback_sent_ + kAnswerInterval);
}

// False: nothing has arrived.
bool ChangeStream::Impl::wait_for_server(Lock& lock, bool may_wait) {
    int timeout_ms = 0;
    if (may_wait)
        timeout_ms = patience_ms_ < 0 ? -1 : milliseconds_until(heard_at_ + milliseconds{patience_ms_});
    let_messages_gather();
    Readiness::Ready ready;
    {
        const Unlocked unlocked{lock};
        ready = readiness_.wait(timeout_ms);
    }
    if (ready.stop) throw Stopped();
    if (ready.time) readiness_.sleep();
    const SteadyTime time = steady_now();
    if (ready.socket) {
        heard_at_ = time;
        pacing_.has_read(time);
    }

    // The feedback thread has asked the server at least twice before this.
    const SteadyTime limit = heard_at_ + milliseconds{patience_ms_};
    if (patience_ms_ >= 0 && time >= limit)
        throw ConnectionError(
            fmt::format("{}: the server has been silent for {} s", server_name_, patience_ms_ / 1'000));
    // Before that, the time comes only from the feedback thread, which has lost the connection.
    if (ready.socket || ready.time || connection_->socket() < 0) return true;
    if (patience_ms_ >= 0) readiness_.wake_at(limit);
    return false;
}

void ChangeStream::Impl::let_messages_gather() {
    const SteadyTime::duration pause = pacing_.pause(steady_now());
    if (pause.count() > 0 && connection_->arrived_bytes() < kWorthReading)
        readiness_.ignore_socket_for(pause);
}

// -- Losing the connection, and making it again --

// Called in a handler: what can't heal is thrown on.
void ChangeStream::Impl::lose(const Error& problem) {
    connection_.reset();
    if (!heals_in_time(problem)) {
        failure_ = std::current_exception();
        throw;
    }
    const milliseconds delay = backoff_.next();
    retry_at_ = steady_now() + delay;
    readiness_.wake_at(retry_at_);
    notice(fmt::format("{}; trying again in {:.1f} s", in_one_line(problem.what()),
                       static_cast<double>(delay.count()) / 1e3));
}

bool ChangeStream::Impl::heals_in_time(const Error& problem) {
    if (!options_.reconnect || options_.temporary_slot) return false;
    const postgres::Healing healing = postgres::healing_of(problem);
    if (healing != postgres::Healing::kSoon) return healing == postgres::Healing::kSomeday;
    // The server may take our old connection for alive until its wal_sender_timeout is over.
    const auto limit = milliseconds{patience_ms_ > 0 ? patience_ms_ : 2 * kPatienceMin.count()};
    if (!busy_until_) busy_until_ = steady_now() + limit;
    return steady_now() < *busy_until_;
}

void ChangeStream::Impl::reconnect(Lock& lock) {
    const postgres::Resumption resumption{.system_identifier = system_identifier_,
                                          .position = progress_.resume_at()};
    postgres::LogicalSession session;
    {
        const Unlocked unlocked{lock};
        wait_for(/*fd=*/-1, 0, milliseconds_until(retry_at_), options_.stop_fd);
        session = postgres::open_session(options_, resumption);
    }
    adopt(std::move(session));
    notice(fmt::format("{}: connected again, going on at {}", server_name_, resumption.position.to_string()));
}

void ChangeStream::Impl::notice(const std::string& text) const {
    if (options_.on_notice) options_.on_notice(text);
}

// -- Feedback --

// Signals are for the program's own threads: the new thread inherits the mask.
void ChangeStream::Impl::start_feedback() {
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    try {
        feedback_ = std::thread{[this] { run_feedback(); }};
    } catch (...) {
        pthread_sigmask(SIG_SETMASK, &before, nullptr);
        throw;
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void ChangeStream::Impl::run_feedback() {
    Lock lock{mutex_};
    while (!closing_) {
        if (steady_now() < feedback_due_) {
            feedback_changed_.wait_until(lock, feedback_due_);
            continue;
        }
        const bool is_news = server_waits_ || progress_.confirmed() > reported_;
        if (!is_news && steady_now() < feedback_sent_ + quiet_interval_) {
            feedback_due_ = feedback_sent_ + quiet_interval_;
            continue;
        }
        feedback_due_ = steady_now() + feedback_interval_;
        if (!connection_) continue;
        try {
            // Asking has the server tell how far it is, or show by its silence that it is gone.
            send_feedback(/*ask=*/true);
        } catch (const std::exception&) {
            // The consumer's thread finds the same out when it reads next, and deals with it.
            readiness_.wake_at(steady_now());
        }
    }
}

void ChangeStream::Impl::send_feedback(bool ask) {
    const Lsn confirmed = progress_.confirmed();
    connection_->send({.written = std::max(progress_.received(), confirmed),
                       .flushed = confirmed,
                       .applied = confirmed,
                       .sent_at = now(),
                       .reply_requested = ask});
    reported_ = confirmed;
    feedback_sent_ = steady_now();
    feedback_due_ = feedback_sent_ + feedback_interval_;
    if (progress_.all_confirmed()) server_waits_ = false;
}

void ChangeStream::Impl::confirm(Lsn end) {
    const std::lock_guard lock{mutex_};
    progress_.confirm(end);
    if (server_waits_)
        hasten_feedback(progress_.all_confirmed() ? steady_now() : feedback_sent_ + kAnswerInterval);
}

void ChangeStream::Impl::flush_confirmed() {
    const std::lock_guard lock{mutex_};
    hasten_feedback(steady_now());
}

void ChangeStream::Impl::hasten_feedback(SteadyTime time) {
    if (time >= feedback_due_) return;
    feedback_due_ = time;
    feedback_changed_.notify_one();
}

bool ChangeStream::Impl::close(milliseconds timeout) {
    {
        const std::lock_guard lock{mutex_};
        closing_ = true;
    }
    feedback_changed_.notify_one();
    if (feedback_.joinable()) feedback_.join();
    ended_ = true;
    if (connection_) {
        try {
            {
                const std::lock_guard lock{mutex_};
                send_feedback(/*ask=*/false);
            }
            closed_well_ = connection_->end(timeout);
        } catch (const Error& problem) {
            notice(problem.what());
        }
        connection_.reset();
    }
    return closed_well_;
}

// -- The public face --

ChangeStream::ChangeStream(StreamOptions options) : impl_(std::make_unique<Impl>(std::move(options))) {}
ChangeStream::~ChangeStream() = default;
ChangeStream::ChangeStream(ChangeStream&&) noexcept = default;
ChangeStream& ChangeStream::operator=(ChangeStream&&) noexcept = default;

const Change* ChangeStream::read() {
    return impl_->next(/*may_wait=*/true);
}
const Change* ChangeStream::try_read() {
    return impl_->next(/*may_wait=*/false);
}
bool ChangeStream::at_end() const {
    return impl_->at_end();
}
int ChangeStream::fileno() const {
    return impl_->fileno();
}

void ChangeStream::confirm(const Change& commit) {
    if (commit.operation == Operation::kCommit) return impl_->confirm(commit.end_lsn);
    if (is_lone_message(commit)) return impl_->confirm(commit.lsn);
    throw Error(fmt::format("can't confirm a change of kind {}", to_string(commit.operation)),
                "confirm the commit of its transaction");
}
void ChangeStream::confirm(Lsn end_lsn) {
    impl_->confirm(end_lsn);
}
void ChangeStream::flush_confirmed() {
    impl_->flush_confirmed();
}
Lsn ChangeStream::confirmed() const {
    return impl_->confirmed();
}
Lsn ChangeStream::received() const {
    return impl_->received();
}
bool ChangeStream::close(milliseconds timeout) {
    return impl_->close(timeout);
}

}  // namespace pgcascade
