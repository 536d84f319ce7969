#include "relay/wal_receiver.hpp"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "base/quantity.hpp"

namespace pgcascade::relay {

using postgres::ReplicationConnection;
using protocol::TimelineAncestry;

namespace {

// As often as a standby with wal_receiver_status_interval at its default. The relay's standbys have as long
// to come back after its start, before the upstream is told that one of them needs nothing.
constexpr std::chrono::seconds kHorizonInterval{10};

// What a standby finds out at its login, and goes by.
constexpr std::array kReportedParameters{
    "server_version", "server_encoding", "client_encoding", "integer_datetimes",
    "DateStyle",      "IntervalStyle",   "TimeZone",        "standard_conforming_strings"};

UpstreamFacts facts_of(const postgres::PhysicalUpstream& upstream) {
    UpstreamFacts facts{.system_identifier = upstream.identity.system_identifier,
                        .timeline = upstream.identity.timeline,
                        .segment_bytes = upstream.segment_bytes};
    for (const char* name : kReportedParameters)
        if (std::string value = upstream.connection->commands().parameter(name); !value.empty())
            facts.parameters[name] = value;
    return facts;
}

diagnostics::Fields position_fields(const log::WalPosition& position) {
    return {{"timeline", std::to_string(position.timeline.value)}, {"lsn", position.lsn.to_string()}};
}

// That which follows `timeline` in a history that has it as an ancestor.
TimelineId next_after(const TimelineAncestry& history, TimelineId timeline) {
    for (const auto& ancestor : history.ancestors)
        if (ancestor.timeline > timeline) return ancestor.timeline;
    return history.timeline;
}

}  // namespace

WalReceiver::WalReceiver(Wal& wal, const SlotStore& slots, std::chrono::milliseconds timeout, int stop_fd)
    : Receiver(wal, timeout, stop_fd),
      wal_(wal),
      slots_(slots),
      horizon_due_(steady_now() + kHorizonInterval) {}

std::uint64_t WalReceiver::gathered_bytes() const {
    const log::WalLog* log = wal_.log();
    return log == nullptr ? 0 : log->gathered_bytes();
}

// -- From the login to the stream --

std::unique_ptr<ReplicationConnection> WalReceiver::open() {
    postgres::PhysicalUpstream upstream = postgres::open_physical_upstream(
        wal_.config().upstream.conninfo, stop_fd(), [this](const std::string& text) { inform(text); });
    ReplicationConnection& connection = *upstream.connection;
    wal_.set_facts(facts_of(upstream));
    make_slot(connection);
    const TimelineAncestry history = fetch_histories(connection, upstream.identity.timeline);
    if (wal_.log()->next().timeline.value != 0) follow(history);
    if (wal_.log()->next().timeline.value == 0) begin_log(connection, upstream.identity);
    start(connection);
    return std::move(upstream.connection);
}

void WalReceiver::make_slot(ReplicationConnection& connection) {
    const UpstreamSlot& upstream = wal_.config().upstream;
    if (postgres::read_physical_slot(connection, upstream.slot)) return;
    if (!upstream.create_slot)
        throw ServerError(
            fmt::format("{}: replication slot \"{}\" does not exist", connection.name(), upstream.slot),
            "42704",
            fmt::format("write create_slot = true into [wal], or: pgcascade slot create {} --physical",
                        upstream.slot));
    postgres::create_reserving_slot(connection, upstream.slot);
    inform(fmt::format("created slot \"{}\" on {}", upstream.slot, connection.name()),
           {{"upstream", connection.name()}, {"slot", upstream.slot}});
}

// An empty log begins where the slot stands: at the begin of that segment, as pg_receivewal's archive does.
void WalReceiver::begin_log(ReplicationConnection& connection, const postgres::SystemIdentity& identity) {
    log::WalPosition begin{identity.timeline, identity.flushed};
    const auto slot = postgres::read_physical_slot(connection, wal_.config().upstream.slot);
    if (slot && slot->restart_lsn) begin = {slot->timeline, slot->restart_lsn};
    begin.lsn.value -= begin.lsn.value % wal_.facts()->segment_bytes;
    wal_.log()->begin_at(begin.timeline, begin.lsn);
    inform(fmt::format("the log begins at {}", begin.to_string()), position_fields(begin));
}

void WalReceiver::start(ReplicationConnection& connection) {
    const log::WalPosition next = wal_.log()->next();
    if (!connection.start(protocol::StartPhysicalReplication{
            .slot = wal_.config().upstream.slot, .start = next.lsn, .timeline = next.timeline}))
        throw ConnectionError(fmt::format("{}: timeline {} has just ended there, at {}", connection.name(),
                                          next.timeline.value, next.lsn.to_string()));
    diagnostics::Fields about = position_fields(next);
    about.push_back({"upstream", connection.name()});
    inform(fmt::format("receiving from {}, from {}", connection.name(), next.to_string()), about);
    wal_.on_news();
}

// -- Timelines --

// All that a standby may ask for, unless the log has them already: one that was made before some of the
// promotions needs each.
TimelineAncestry WalReceiver::fetch_histories(ReplicationConnection& connection, TimelineId timeline) {
    if (timeline.value == 1) return {timeline, {}};
    const std::string last = postgres::fetch_own_history(connection, timeline);
    TimelineAncestry history = protocol::parse_timeline_ancestry(timeline, last);
    const log::WalLog& log = *wal_.log();
    if (log.history(timeline) == last) return history;
    if (log.next().timeline.value != 0) refuse_other_history(history);
    for (TimelineId older{2}; older < timeline; ++older.value)
        if (const auto content = postgres::fetch_timeline_history(connection, older))
            log.add_history(older, *content);
    log.add_history(timeline, last);
    return history;
}

// Only a newer timeline is followed. An older one is that of a server which was not told of a promotion yet;
// the same number with another history, that of a second promotion in the same place: to follow it would mean
// to throw away what the first one has confirmed.
void WalReceiver::refuse_other_history(const TimelineAncestry& upstream) const {
    const TimelineId ours = wal_.log()->next().timeline;
    const std::string anew = fmt::format(
        "if this is the cluster to follow: stop the relay, remove {}, start it again; its standbys need a "
        "new copy",
        wal_.directory().string());
    if (upstream.timeline < ours)
        throw Error(fmt::format("the upstream is on timeline {}, the log on timeline {}: it has not followed "
                                "the promotion",
                                upstream.timeline.value, ours.value),
                    anew);
    if (upstream.timeline == ours)
        throw Error(fmt::format("the upstream's timeline {} comes from elsewhere than the log's", ours.value),
                    anew);
}

// Brings the log to where the upstream's history can go on: to the last place that both share.
void WalReceiver::follow(const TimelineAncestry& upstream) {
    log::WalLog& log = *wal_.log();
    const log::WalPosition at = log.next();
    const auto known = log.history(at.timeline);
    const TimelineAncestry ours = protocol::parse_timeline_ancestry(at.timeline, known.value_or(""));
    if (at.timeline == upstream.timeline && ours.ancestors == upstream.ancestors) return;
    refuse_other_history(upstream);
    const auto shared = protocol::shared_history(ours, upstream);
    if (!shared)
        throw Error(fmt::format("the upstream's timeline {} has no history in common with the log's "
                                "timeline {}",
                                upstream.timeline.value, at.timeline.value),
                    fmt::format("stop the relay, remove {}, start it again", wal_.directory().string()));
    if (at.timeline > shared->timeline || at.lsn > shared->end) cut_back(shared->end, upstream);
    if (log.next().timeline.value == 0) return;
    const auto switch_point = upstream.switch_point(log.next().timeline);
    if (switch_point && *switch_point == log.next().lsn)
        go_over(next_after(upstream, log.next().timeline), *switch_point);
}

void WalReceiver::cut_back(Lsn end, const TimelineAncestry& upstream) {
    log::WalLog& log = *wal_.log();
    const log::WalPosition before = log.next();
    std::uint64_t bytes = 0;
    must_succeed([&] { bytes = log.cut_back(end); });
    warn(fmt::format("the upstream's timeline {} left the log's history at {}: what the log held beyond, {} "
                     "up to {}, is cut away",
                     upstream.timeline.value, end.to_string(), format_bytes(static_cast<std::int64_t>(bytes)),
                     before.to_string()),
         "standbys that have received it must be rewound (pg_rewind)",
         position_fields({upstream.timeline, end}));
    wal_.on_news();
}

void WalReceiver::go_over(TimelineId next, Lsn switch_point) {
    const log::WalPosition before = wal_.log()->next();
    must_succeed([&] { wal_.log()->switch_timeline(next, switch_point); });
    inform(fmt::format("timeline {} goes on as timeline {} at {}", before.timeline.value, next.value,
                       switch_point.to_string()),
           position_fields({next, switch_point}));
    wal_.on_news();
}

void WalReceiver::end_timeline(ReplicationConnection& connection) {
    const postgres::NextTimeline next = connection.end_timeline();
    const TimelineAncestry history = fetch_histories(connection, connection.identify_system().timeline);
    if (history.switch_point(wal_.log()->next().timeline) != next.switch_point)
        throw ProtocolError(fmt::format("{}: it ends a timeline at {}, which its history does not say",
                                        connection.name(), next.switch_point.to_string()));
    follow(history);
    start(connection);
}

// -- The stream --

bool WalReceiver::take(std::string_view bytes) {
    const protocol::ServerMessage message = protocol::parse_server_message(bytes);
    if (const auto* xlog = std::get_if<protocol::XLogData>(&message)) {
        log::WalLog& log = *wal_.log();
        log.append(log.next().timeline, xlog->wal_start, xlog->payload);
        return true;
    }
    if (std::get<protocol::PrimaryKeepalive>(message).reply_requested) request_reply();
    return false;
}

// Nothing is applied here: synchronous_commit = remote_apply must not take a relay for a standby.
protocol::StandbyStatusUpdate WalReceiver::position() {
    const log::WalLog& log = *wal_.log();
    return {.written = log.readable().lsn, .flushed = log.durable().lsn};
}

void WalReceiver::tell_more(ReplicationConnection& connection) {
    if (steady_now() < horizon_due_) return;
    horizon_due_ = steady_now() + kHorizonInterval;
    StandbyHorizon horizon = slots_.horizon();
    horizon.include(wal_.horizon());
    connection.send(horizon.feedback(now()));
}

}  // namespace pgcascade::relay
