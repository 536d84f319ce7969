#include "relay/feed_receiver.hpp"

#include <algorithm>
#include <array>
#include <cerrno>

#include <fmt/format.h>
#include <poll.h>

#include "base/diagnostics.hpp"
#include "base/stop_signal.hpp"
#include "postgres/healing.hpp"

namespace pgcascade::relay {

using std::chrono::milliseconds;

namespace {

constexpr const char* kEncoding = "UTF8";  // of the texts in the log
constexpr milliseconds kLongestBackoff{10'000};
constexpr milliseconds kFeedbackInterval{10'000};
constexpr milliseconds kPositionInterval{1'000};
constexpr milliseconds kPatienceAtTheEnd{2'000};
constexpr milliseconds kLookForRoom{1'000};
constexpr std::int64_t kNanosecondsASecond = 1'000'000'000;
constexpr std::uint64_t kGatheredBytes = 256 * 1024;

// What a client of the feed's stream finds out at its login, and goes by.
constexpr std::array kReportedParameters{
    "server_version", "server_encoding", "client_encoding", "integer_datetimes",
    "DateStyle",      "IntervalStyle",   "TimeZone",        "standard_conforming_strings"};

UpstreamFacts facts_of(const postgres::LogicalSession& session, const std::set<std::string>& publications,
                       const std::optional<UpstreamFacts>& before) {
    postgres::Connection& connection = session.connection->commands();
    UpstreamFacts facts;
    facts.system_identifier = session.system_identifier;
    facts.timeline = session.timeline;
    facts.database = PQdb(connection.native());
    facts.publications = publications;
    facts.start = before ? before->start : session.confirmed;
    for (const char* name : kReportedParameters)
        if (std::string value = connection.parameter(name); !value.empty()) facts.parameters[name] = value;
    return facts;
}

}  // namespace

FeedReceiver::FeedReceiver(Feed& feed, int stop_fd)
    : feed_(feed),
      stop_fd_(stop_fd),
      backoff_(kLongestBackoff, static_cast<std::uint32_t>(std::hash<std::string>{}(feed.name()))) {}

void FeedReceiver::run() {
    try {
        for (;;) receive();
    } catch (const Stopped&) {
        if (connection_) connection_->end(kPatienceAtTheEnd);
    }
}

// One connection, from the login until it breaks and the time to try again has come.
void FeedReceiver::receive() {
    try {
        open();
        for (;;) {
            take_arrived();
            wait();
            if (!feed_.is_full()) connection_->consume_input();
        }
    } catch (const LogCorrupt&) {
        throw;
    } catch (const SystemError&) {
        throw;
    } catch (const Stopped&) {
        throw;
    } catch (const Error& problem) {
        connection_.reset();
        feed_.writer().start_session();
        // What was whole before the end came: the next session goes on behind it.
        if (feed_.log().gathered_bytes() > 0)
            publish();
        else
            feed_.on_news();
        pause(problem);
    }
}

void FeedReceiver::open() {
    const auto before = feed_.facts();
    std::optional<postgres::Resumption> resumption;
    if (before) resumption = {.system_identifier = before->system_identifier, .position = feed_.mark().upto};
    const UpstreamSlot& upstream = feed_.config().upstream;
    const auto& publications = feed_.config().publications;
    postgres::LogicalSession session =
        postgres::open_session({.conninfo = upstream.conninfo.with("client_encoding", kEncoding).to_string(),
                                .slot = upstream.slot,
                                .publications = {publications.begin(), publications.end()},
                                .create_slot = upstream.create_slot,
                                .stop_fd = stop_fd_,
                                .on_notice =
                                    [this](const std::string& text) {
                                        diagnostics::info(fmt::format("feed {}: {}", feed_.name(), text));
                                    }},
                               resumption);
    feed_.set_facts(facts_of(session, publications, before));
    feed_.writer().start_session();
    connection_ = std::move(session.connection);
    received_ = std::max(feed_.mark().upto, session.confirmed);
    reported_ = std::max(feed_.durable(), session.confirmed);  // what was only read may be lost in a crash
    feedback_due_ = position_due_ = steady_now();
    backoff_.reset();
    feed_.set_problem({});
    diagnostics::info(fmt::format("feed {}: receiving from {}, from {}", feed_.name(), connection_->name(),
                                  feed_.mark().upto.to_string()));
}

// All that libpq holds becomes readable at once.
void FeedReceiver::take_arrived() {
    bool has_news = false;
    while (const auto bytes = connection_->receive()) {
        has_news |= take(*bytes);
        if (feed_.log().gathered_bytes() >= kGatheredBytes) publish();
    }
    if (has_news) publish();
    if (steady_now() >= feedback_due_ || reply_requested_ || is_more_durable_) send_feedback();
}

// True where there is something to publish.
bool FeedReceiver::take(std::string_view bytes) {
    const protocol::ServerMessage message = protocol::parse_server_message(bytes);
    if (const auto* xlog = std::get_if<protocol::XLogData>(&message)) {
        feed_.writer().take(*xlog, bytes);
        received_ = std::max(received_, xlog->wal_start);
        return true;
    }
    const auto& keepalive = std::get<protocol::PrimaryKeepalive>(message);
    reply_requested_ |= keepalive.reply_requested;
    if (feed_.writer().in_transaction()) return false;
    received_ = std::max(received_, keepalive.wal_end);
    // Sessions are told at once; the log, which goes to disk for it, not for every one.
    if (steady_now() >= position_due_ && feed_.writer().take_position(keepalive.wal_end, keepalive.sent_at))
        position_due_ = steady_now() + kPositionInterval;
    return true;
}

void FeedReceiver::publish() {
    flush();
    if (!feed_.writer().in_transaction()) feed_.set_mark({feed_.log().finished(), received_});
    feed_.on_news();
}

// On a full disk it waits for room, and receives nothing meanwhile: what was gathered is kept.
void FeedReceiver::flush() {
    for (;;) {
        try {
            feed_.log().flush();
            feed_.set_problem({});
            return;
        } catch (const SystemError& problem) {
            if (problem.error_number() != ENOSPC && problem.error_number() != EDQUOT) throw;
            tell(problem, "receiving goes on once there is room");
        }
        wait_for(/*fd=*/-1, 0, static_cast<int>(kLookForRoom.count()), stop_fd_);
        if (connection_) send_feedback();  // that the upstream does not take the relay for dead
    }
}

void FeedReceiver::send_feedback() {
    const Lsn durable = std::max(feed_.durable(), reported_);
    connection_->send(
        {.written = std::max(received_, durable), .flushed = durable, .applied = durable, .sent_at = now()});
    reported_ = durable;
    reply_requested_ = is_more_durable_ = false;
    feedback_due_ = steady_now() + kFeedbackInterval;
}

// Under load it does not look at the socket for a moment, so that messages gather.
void FeedReceiver::wait() {
    if (feed_.is_full()) return poll(/*socket=*/-1, kLookForRoom);
    const SteadyTime::duration pause = pacing_.pause(steady_now());
    if (pause.count() > 0) poll(/*socket=*/-1, pause);
    poll(connection_->socket(), feedback_due_ - steady_now());
    pacing_.has_read(steady_now());
}

void FeedReceiver::poll(int socket, SteadyTime::duration patience) {
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

void FeedReceiver::pause(const Error& problem) {
    tell(problem, "trying again");
    wait_for(/*fd=*/-1, 0, static_cast<int>(backoff_.next().count()), stop_fd_);
}

// Once, however often it comes.
void FeedReceiver::tell(const Error& problem, const char* what_now) {
    if (feed_.problem() == problem.what()) return;
    diagnostics::warning(fmt::format("feed {}: {}; {}", feed_.name(), problem.what(), what_now),
                         problem.hint());
    feed_.set_problem(problem.what());
}

}  // namespace pgcascade::relay
