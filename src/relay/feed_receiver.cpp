#include "relay/feed_receiver.hpp"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "postgres/logical_session.hpp"

namespace pgcascade::relay {

namespace {

constexpr const char* kEncoding = "UTF8";  // of the texts in the log
constexpr std::chrono::milliseconds kPositionInterval{1'000};

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

std::unique_ptr<postgres::ReplicationConnection> FeedReceiver::open() {
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
                                .messages = feed_.config().messages,
                                .stop_fd = stop_fd(),
                                .on_notice = [this](const std::string& text) { inform(text); }},
                               resumption);
    feed_.set_facts(facts_of(session, publications, before));
    feed_.writer().start_session();
    received_ = std::max(feed_.mark().upto, session.confirmed);
    reported_ = std::max(feed_.durable(), session.confirmed);  // what was only read may be lost in a crash
    position_due_ = steady_now();
    inform(
        fmt::format("receiving from {}, from {}", session.connection->name(), feed_.mark().upto.to_string()),
        {{"upstream", session.connection->name()}, {"lsn", feed_.mark().upto.to_string()}});
    return std::move(session.connection);
}

bool FeedReceiver::take(std::string_view bytes) {
    const protocol::ServerMessage message = protocol::parse_server_message(bytes);
    if (const auto* xlog = std::get_if<protocol::XLogData>(&message)) {
        feed_.writer().take(*xlog, bytes);
        received_ = std::max(received_, xlog->wal_start);
        return true;
    }
    const auto& keepalive = std::get<protocol::PrimaryKeepalive>(message);
    if (keepalive.reply_requested) request_reply();
    if (feed_.writer().in_transaction()) return false;
    received_ = std::max(received_, keepalive.wal_end);
    // Sessions are told at once; the log, which goes to disk for it, not for every one.
    if (steady_now() >= position_due_ && feed_.writer().take_position(keepalive.wal_end, keepalive.sent_at))
        position_due_ = steady_now() + kPositionInterval;
    return true;
}

// Within a transaction only those before it count: the next session goes on behind them.
void FeedReceiver::publish() {
    Lsn upto = received_;
    if (feed_.writer().in_transaction()) {
        const auto last = feed_.log().last();
        upto = last ? last->end_lsn : Lsn{};
    }
    feed_.set_mark({feed_.log().finished(), upto});
    feed_.on_news();
}

protocol::StandbyStatusUpdate FeedReceiver::position() {
    reported_ = std::max(feed_.durable(), reported_);
    return {.written = std::max(received_, reported_), .flushed = reported_, .applied = reported_};
}

}  // namespace pgcascade::relay
