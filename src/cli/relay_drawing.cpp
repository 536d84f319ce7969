#include "cli/relay_drawing.hpp"

#include <fmt/format.h>

#include "base/quantity.hpp"
#include "cli/table.hpp"

namespace pgcascade::cli {

using relay::FeedStatus;
using relay::Progress;
using relay::RelayStatus;
using relay::SessionStatus;
using relay::SlotStatus;

namespace {

std::string lsn_text(const std::optional<Lsn>& lsn) {
    return lsn ? lsn->to_string() : "";
}

std::string lag_text(const Progress& progress) {
    return progress.lag_bytes ? format_bytes(*progress.lag_bytes) : "";
}

Cell log_state_cell(const std::string& state) {
    return {state, state == "receiving" ? Colour::kGood : Colour::kBad};
}

std::string draw_wal(const RelayStatus& status, bool colour) {
    if (!status.wal) return "";
    const relay::WalStatus& wal = *status.wal;
    Table table({{.name = "wal"},
                 {.name = "received"},
                 {.name = "durable"},
                 {.name = "log", .right_aligned = true},
                 {.name = "holds"},
                 {.name = "slot"},
                 {.name = "upstream"}});
    table.add_row(
        {log_state_cell(wal.state),
         {wal.timeline ? fmt::format("{} on timeline {}", lsn_text(wal.received), *wal.timeline) : ""},
         {lsn_text(wal.durable)},
         {format_bytes(wal.log_bytes)},
         {wal.begin ? fmt::format("{} … {}", lsn_text(wal.begin), lsn_text(wal.received)) : ""},
         {wal.slot},
         {wal.upstream, Colour::kDim}});
    return table.to_string(colour);
}

std::string draw_feeds(const RelayStatus& status, bool colour) {
    Table table({{.name = "feed"},
                 {.name = "database"},
                 {.name = "publications"},
                 {.name = "state"},
                 {.name = "received"},
                 {.name = "durable"},
                 {.name = "log", .right_aligned = true},
                 {.name = "holds"},
                 {.name = "slot"},
                 {.name = "upstream"}});
    for (const FeedStatus& feed : status.feeds)
        table.add_row({{feed.name},
                       {feed.database},
                       {feed.publications},
                       log_state_cell(feed.state),
                       {lsn_text(feed.received)},
                       {lsn_text(feed.durable)},
                       {format_bytes(feed.log_bytes)},
                       {feed.begin ? fmt::format("{} … {}", lsn_text(feed.begin), lsn_text(feed.end)) : ""},
                       {feed.slot},
                       {feed.upstream, Colour::kDim}});
    return status.feeds.empty() ? "" : table.to_string(colour);
}

Cell state_cell(const SlotStatus& slot) {
    if (slot.is_invalidated()) return {"invalidated: " + slot.invalidation_reason, Colour::kBad};
    if (slot.active) return {"active", Colour::kGood};
    return {"inactive", Colour::kWarning};
}

std::string draw_slots(const RelayStatus& status, bool colour) {
    Table table({{.name = "slot"},
                 {.name = "database"},
                 {.name = "state"},
                 {.name = "position"},
                 {.name = "lag", .right_aligned = true},
                 {.name = "retains", .right_aligned = true},
                 {.name = "flags"}});
    for (const SlotStatus& slot : status.slots)
        table.add_row({{slot.name},
                       {slot.database},
                       state_cell(slot),
                       {lsn_text(slot.position)},
                       {slot.is_invalidated() ? "" : format_bytes(slot.lag_bytes)},
                       {slot.is_invalidated() ? "" : format_bytes(slot.retained_log_bytes)},
                       {slot.temporary ? "temporary" : ""}});
    return status.slots.empty() ? "" : table.to_string(colour);
}

std::string draw_sessions(const RelayStatus& status, bool colour) {
    Table table({{.name = "client"},
                 {.name = "user"},
                 {.name = "application"},
                 {.name = "slot"},
                 {.name = "feed"},
                 {.name = "state"},
                 {.name = "sent lag", .right_aligned = true},
                 {.name = "write lag", .right_aligned = true},
                 {.name = "flush lag", .right_aligned = true},
                 {.name = "apply lag", .right_aligned = true}});
    for (const SessionStatus& session : status.sessions)
        table.add_row({{session.client},
                       {session.user},
                       {session.application_name},
                       {session.slot},
                       {session.feed.empty() && session.state == "streaming" ? "(wal)" : session.feed},
                       {session.state, session.state == "streaming" ? Colour::kGood : Colour::kDim},
                       {lag_text(session.sent)},
                       {lag_text(session.write)},
                       {lag_text(session.flush)},
                       {lag_text(session.apply)}});
    return status.sessions.empty() ? "" : table.to_string(colour);
}

std::string draw_problems(const RelayStatus& status, bool colour) {
    std::string text;
    for (const relay::RelayProblem& problem : problems_of(status)) text += draw_problem(problem, colour);
    return text;
}

}  // namespace

std::string draw_problem(const relay::RelayProblem& problem, bool colour) {
    std::string text = coloured(problem.what, Colour::kBad, colour) + "\n";
    if (!problem.hint.empty()) text += "  hint: " + problem.hint + "\n";
    return text;
}

std::string draw_relay(const RelayStatus& status, bool colour) {
    std::string text = fmt::format("relay {}\n", status.relay);
    for (const std::string& part :
         {draw_wal(status, colour), draw_feeds(status, colour), draw_slots(status, colour),
          draw_sessions(status, colour), draw_problems(status, colour)})
        if (!part.empty()) text += "\n" + part;
    return text;
}

}  // namespace pgcascade::cli
