#include "relay/feed_receiver.hpp"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "base/quantity.hpp"
#include "base/stop_signal.hpp"
#include "postgres/logical_session.hpp"
#include "postgres/physical_upstream.hpp"
#include "protocol/timeline_ancestry.hpp"

namespace pgcascade::relay {

using postgres::ReplicationConnection;

namespace {

constexpr const char* kEncoding = "UTF8";  // of the texts in the log
constexpr std::chrono::milliseconds kPositionInterval{1'000};
constexpr std::chrono::milliseconds kTimelineInterval{5'000};
constexpr std::chrono::milliseconds kPatienceWithLook{2'000};

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
    facts.server_run = session.server.run;
    facts.received_from = before ? before->received_from : session.confirmed;
    for (const char* name : kReportedParameters)
        if (std::string value = connection.parameter(name); !value.empty()) facts.parameters[name] = value;
    return facts;
}

}  // namespace

std::unique_ptr<ReplicationConnection> FeedReceiver::open() {
    std::optional<postgres::Resumption> resumption;
    if (const auto before = feed_.facts())
        resumption = {.system_identifier = before->system_identifier,
                      .position = feed_.mark().upto,
                      .find_position = [this](ReplicationConnection& connection, const auto& upstream,
                                              const postgres::StreamServer& server) {
                          follow(connection, upstream, server.run);
                          return feed_.mark().upto;
                      }};
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
    feed_.set_facts(facts_of(session, publications, feed_.facts()));
    may_change_timeline_ = session.server.is_standby;
    look_due_ = steady_now() + kTimelineInterval;
    feed_.writer().start_session();
    received_ = std::max(feed_.mark().upto, session.confirmed);
    reported_ = std::max(feed_.durable(), session.confirmed);  // what was only read may be lost in a crash
    position_due_ = steady_now();
    inform(
        fmt::format("receiving from {}, from {}", session.connection->name(), feed_.mark().upto.to_string()),
        {{"upstream", session.connection->name()}, {"lsn", feed_.mark().upto.to_string()}});
    return std::move(session.connection);
}

// -- Timelines --

// Brings the log to where the upstream's history can go on. What this very server has sent is of its history
// in any case: only what was received before can be of another.
void FeedReceiver::follow(ReplicationConnection& connection, const postgres::SystemIdentity& upstream,
                          const std::string& run) {
    const bool is_same_run = feed_.facts()->server_run == run;
    if (const auto switch_point = find_switch_point(connection, upstream.timeline)) {
        const Lsn from_others = is_same_run ? feed_.facts()->received_from : feed_.mark().upto;
        if (from_others > *switch_point) cut_back(*switch_point, upstream.timeline);
        inform(fmt::format("timeline {} goes on as timeline {} at {}", feed_.facts()->timeline.value,
                           upstream.timeline.value, switch_point->to_string()));
    }
    UpstreamFacts facts = *feed_.facts();
    facts.timeline = upstream.timeline;
    facts.received_from = is_same_run ? std::min(facts.received_from, feed_.mark().upto) : feed_.mark().upto;
    facts.server_run = run;
    feed_.log().sync();
    feed_.set_facts(facts);
}

// Where the upstream's history has left the timeline that the log is on; nothing: it is on that one, too.
// Only a newer one is followed, that comes from the log's. An older one is that of a server which was not
// told of a promotion yet; another one, of a second promotion beside the first: to follow it would mean to
// throw away what the first one has confirmed.
std::optional<Lsn> FeedReceiver::find_switch_point(ReplicationConnection& connection, TimelineId upstream) {
    constexpr const char* kAnew =
        "if this is the cluster to follow, begin the feed anew: its subscribers need a "
        "new copy";
    const TimelineId ours = feed_.facts()->timeline;
    if (upstream < ours)
        throw Error(fmt::format("the upstream is on timeline {}, the log on timeline {}: it has not followed "
                                "the promotion",
                                upstream.value, ours.value),
                    kAnew);
    if (upstream.value == 1) return std::nullopt;
    const auto content = upstream == ours ? postgres::fetch_timeline_history(connection, upstream)
                                          : postgres::fetch_own_history(connection, upstream);
    const auto known = feed_.history(upstream);
    if (upstream == ours && known && content && *known != *content)
        throw Error(fmt::format("the upstream's timeline {} comes from elsewhere than the log's", ours.value),
                    kAnew);
    const auto history = protocol::parse_timeline_ancestry(upstream, content.value_or(""));
    const auto switch_point = history.switch_point(ours);
    if (upstream > ours && !switch_point)
        throw Error(fmt::format("the upstream's timeline {} does not come from timeline {}, on which the log "
                                "is",
                                upstream.value, ours.value),
                    kAnew);
    if (content && content != known) feed_.add_history(upstream, *content);
    return switch_point;
}

// The slots first: once the log is cut, nothing tells any more who was given what. And once more after that,
// for whoever was quick to come again meanwhile.
void FeedReceiver::cut_back(Lsn end, TimelineId upstream) {
    const Lsn before = feed_.mark().upto;
    const log::FeedLog::Beyond lost = feed_.log().beyond(end);
    UpstreamFacts facts = *feed_.facts();
    feed_.log().sync();
    facts.server_run.clear();
    facts.received_from = end;  // what an empty log goes by
    feed_.set_facts(facts);
    const SlotStore::Divergence divergence{
        .database = facts.database,
        .feed = feed_.name(),
        .end = end,
        .lost = lost.transactions > 0 ? std::optional{lost.first_end} : std::nullopt};
    std::vector<Slot> invalidated = slots_.leave(divergence);
    must_succeed([&] { feed_.cut_back(end); });
    for (Slot& slot : slots_.leave(divergence)) invalidated.push_back(std::move(slot));
    feed_.on_news();
    if (lost.transactions > 0)
        warn(fmt::format("the upstream's timeline {} left the log's history at {}: what the log held beyond, "
                         "up to {} (transactions: {}, {}), is cut away",
                         upstream.value, end.to_string(), before.to_string(), lost.transactions,
                         format_bytes(static_cast<std::int64_t>(lost.bytes))),
             "subscribers that have applied them need a new copy of the data; their slots are invalidated");
    for (const Slot& slot : invalidated)
        warn(fmt::format("slot \"{}\", which stood at {}, is invalidated: what was read through it is not in "
                         "the upstream's history",
                         slot.name, slot.position.to_string()),
             feed_.way_back());
}

// A standby that is promoted, or whose own upstream is, goes on with the stream and says nothing. Once it was
// started anew, nobody could tell any more that all since then is of its new timeline.
void FeedReceiver::tell_more(ReplicationConnection& connection) {
    if (!may_change_timeline_ || steady_now() < look_due_) return;
    look_due_ = steady_now() + kTimelineInterval;
    look_at_timeline(connection);
}

void FeedReceiver::look_at_timeline(ReplicationConnection& connection) {
    std::optional<ReplicationConnection> beside;
    postgres::SystemIdentity upstream;
    postgres::StreamServer server;
    try {
        beside.emplace(connection.commands().pinned(feed_.config().upstream.conninfo),
                       postgres::ConnectOptions{.timeout = kPatienceWithLook, .stop_fd = stop_fd()});
        upstream = beside->identify_system();
        if (upstream.timeline <= feed_.facts()->timeline) return;
        server = postgres::check_server(beside->commands());
        if (server.run != feed_.facts()->server_run) return;
    } catch (const Stopped&) {
        throw;
    } catch (const Error&) {  // it may have no connection to spare; the next look will do
        return;
    }
    const auto switch_point = find_switch_point(*beside, upstream.timeline);
    if (switch_point && feed_.facts()->received_from > *switch_point)
        throw ConnectionError(
            fmt::format("{} went over to timeline {}", connection.name(), upstream.timeline.value));
    follow(*beside, upstream, server.run);
    may_change_timeline_ = server.is_standby;
}

// -- The stream --

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
