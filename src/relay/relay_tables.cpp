#include "relay/relay_tables.hpp"

#include <algorithm>

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/clock.hpp"
#include "protocol/backend_message.hpp"

namespace pgcascade::relay {

namespace {

// A cell without a value is null.
using Cell = std::optional<std::string>;

class TableAnswer {
  public:
    TableAnswer(std::string& out, std::initializer_list<const char*> columns) : out_(out) {
        std::vector<protocol::Column> described;
        for (const char* name : columns) described.push_back({.name = name});
        protocol::append_row_description(out_, described);
    }

    void add(const std::vector<Cell>& cells) {
        protocol::Row row;
        for (const Cell& cell : cells) {
            row.emplace_back();
            if (cell) row.back() = *cell;
        }
        protocol::append_data_row(out_, row);
    }

    void end() { protocol::append_command_complete(out_, "SHOW"); }

  private:
    std::string& out_;
};

Cell boolean(bool value) {
    return value ? "t" : "f";
}

Cell lsn_or_null(Lsn lsn) {
    if (!lsn) return std::nullopt;
    return lsn.to_string();
}

const Feed* find_feed(const RelayState& relay, const std::string& name) {
    const auto found = std::find_if(relay.feeds.begin(), relay.feeds.end(),
                                    [&](const auto& feed) { return feed->name() == name; });
    return found == relay.feeds.end() ? nullptr : found->get();
}

std::vector<Cell> slot_row(const Slot& slot, const Feed* feed) {
    const Lsn newest = feed == nullptr ? slot.position : feed->mark().upto;
    const std::int64_t retained = std::max<std::int64_t>(0, distance(slot.position, newest));
    const auto idle =
        slot.inactive_since
            ? std::chrono::duration_cast<std::chrono::seconds>(now() - *slot.inactive_since).count()
            : 0;
    const auto since = slot.inactive_since ? std::chrono::system_clock::to_time_t(*slot.inactive_since) : 0;
    return {slot.name,
            boolean(slot.is_logical()),
            slot.is_logical() ? "pgoutput" : "",
            feed == nullptr ? "" : feed->config().database,
            boolean(slot.temporary),
            boolean(slot.active_pid != 0),
            std::to_string(slot.active_pid),
            slot.is_invalidated() ? std::nullopt : lsn_or_null(slot.position),
            slot.is_logical() ? lsn_or_null(slot.position) : std::nullopt,
            slot.is_invalidated() ? "lost" : "reserved",
            std::nullopt,
            std::to_string(retained),
            boolean(slot.two_phase),
            boolean(false),
            slot.invalidation_reason,
            boolean(slot.failover),
            boolean(false),
            boolean(slot.inactive_since.has_value()),
            fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(since)),
            std::to_string(idle)};
}

void append_slots(std::string& out, const RelayState& relay) {
    TableAnswer answer{out, {"slot_name",      "is_logical",      "plugin",
                             "database",       "temporary",       "active",
                             "active_pid",     "restart_lsn",     "confirmed_flush_lsn",
                             "wal_status",     "safe_wal_size",   "retained_bytes",
                             "two_phase",      "conflicting",     "invalidation_reason",
                             "failover",       "synced",          "is_inactive",
                             "inactive_since", "inactive_seconds"}};
    for (const Slot& slot : relay.slots.list()) answer.add(slot_row(slot, find_feed(relay, slot.feed)));
    answer.end();
}

void append_sessions(std::string& out, const RelayState& relay) {
    TableAnswer answer{out,
                       {"pid", "client", "user", "database", "application_name", "slot", "feed", "write_lsn",
                        "flush_lsn", "apply_lsn", "lag_bytes"}};
    for (const SessionInfo& session : relay.sessions.list()) {
        const Feed* feed = find_feed(relay, session.feed);
        const bool has_lag = feed != nullptr && session.flushed;
        const std::int64_t lag = has_lag ? distance(session.flushed, feed->mark().upto) : 0;
        answer.add({std::to_string(session.pid), session.client.to_string(), session.user, session.database,
                    session.application_name, session.slot, session.feed, lsn_or_null(session.written),
                    lsn_or_null(session.flushed), lsn_or_null(session.applied),
                    has_lag ? Cell{std::to_string(std::max<std::int64_t>(0, lag))} : std::nullopt});
    }
    answer.end();
}

void append_feeds(std::string& out, const RelayState& relay) {
    TableAnswer answer{out,
                       {"feed", "database", "publications", "upstream", "slot", "received_lsn", "durable_lsn",
                        "log_bytes", "problem"}};
    for (const auto& feed : relay.feeds) {
        const std::string problem = feed->problem();
        answer.add({feed->name(), feed->config().database,
                    fmt::format("{}", fmt::join(feed->config().publications, ",")),
                    feed->config().upstream.conninfo.redacted(), feed->config().upstream.slot,
                    lsn_or_null(feed->mark().upto), lsn_or_null(feed->durable()),
                    std::to_string(feed->bytes()), problem.empty() ? Cell{} : problem});
    }
    answer.end();
}

}  // namespace

bool append_relay_table(std::string& out, const std::string& name, const RelayState& relay) {
    if (name == "pgcascade.slots") {
        append_slots(out, relay);
    } else if (name == "pgcascade.sessions") {
        append_sessions(out, relay);
    } else if (name == "pgcascade.feeds") {
        append_feeds(out, relay);
    } else if (name == "pgcascade.wal_sender_timeout") {
        TableAnswer answer{out, {"wal_sender_timeout"}};
        answer.add({std::to_string(relay.config.wal_sender_timeout.count())});
        answer.end();
    } else {
        return false;
    }
    return true;
}

}  // namespace pgcascade::relay
