#include "relay/relay_tables.hpp"

#include <algorithm>

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/clock.hpp"
#include "protocol/backend_message.hpp"
#include "relay/operator_view.hpp"

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

// As pg_replication_slots shows it: without its epoch.
Cell transaction_or_null(std::uint64_t transaction) {
    if (transaction == 0) return std::nullopt;
    return std::to_string(static_cast<std::uint32_t>(transaction));
}

Cell lag_or_null(Lsn position, Lsn newest) {
    if (!position || !newest) return std::nullopt;
    return std::to_string(std::max<std::int64_t>(0, distance(position, newest)));
}

std::vector<Cell> slot_row(const Slot& slot, SlotLags& lags) {
    const auto idle =
        slot.inactive_since
            ? std::chrono::duration_cast<std::chrono::seconds>(now() - *slot.inactive_since).count()
            : 0;
    const auto since = slot.inactive_since ? std::chrono::system_clock::to_time_t(*slot.inactive_since) : 0;
    return {slot.name,
            boolean(slot.is_logical()),
            slot.is_logical() ? "pgoutput" : "",
            slot.database,
            boolean(slot.temporary),
            boolean(slot.active_pid != 0),
            std::to_string(slot.active_pid),
            slot.is_invalidated() ? std::nullopt : lsn_or_null(slot.position),
            slot.is_logical() ? lsn_or_null(slot.position) : std::nullopt,
            slot.is_invalidated() ? Cell{"lost"}
            : slot.position       ? Cell{"reserved"}
                                  : Cell{},
            std::nullopt,
            std::to_string(lags.lag_bytes(slot)),
            boolean(slot.two_phase),
            boolean(false),
            slot.invalidation_reason,
            boolean(slot.failover),
            boolean(false),
            boolean(slot.inactive_since.has_value()),
            fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(since)),
            std::to_string(idle),
            std::to_string(lags.retained_log_bytes(slot))};
}

void append_slots(std::string& out, const RelayState& relay) {
    TableAnswer answer{out, {"slot_name",      "is_logical",       "plugin",
                             "database",       "temporary",        "active",
                             "active_pid",     "restart_lsn",      "confirmed_flush_lsn",
                             "wal_status",     "safe_wal_size",    "retained_bytes",
                             "two_phase",      "conflicting",      "invalidation_reason",
                             "failover",       "synced",           "is_inactive",
                             "inactive_since", "inactive_seconds", "retained_log_bytes"}};
    SlotLags lags{relay};
    for (const Slot& slot : relay.slots.list()) answer.add(slot_row(slot, lags));
    answer.end();
}

void append_sessions(std::string& out, const RelayState& relay) {
    TableAnswer answer{out,
                       {"pid", "client", "user", "database", "application_name", "slot", "feed", "write_lsn",
                        "flush_lsn", "apply_lsn", "lag_bytes", "state", "sent_lsn", "sent_lag_bytes",
                        "write_lag_bytes", "apply_lag_bytes"}};
    for (const SessionInfo& session : relay.sessions.list()) {
        const Feed* feed = find_feed(relay, session.feed);
        const Lsn newest = feed != nullptr       ? feed->mark().upto
                           : session.streams_wal ? received_wal(relay)
                                                 : Lsn{};
        // It is told from time to time only; what the client has written was sent.
        const Lsn sent = session.sent ? std::max(session.sent->load(), session.written) : Lsn{};
        answer.add({std::to_string(session.pid), session.client.to_string(), session.user, session.database,
                    session.application_name, session.slot, session.feed, lsn_or_null(session.written),
                    lsn_or_null(session.flushed), lsn_or_null(session.applied),
                    lag_or_null(session.flushed, newest), session.sent ? "streaming" : "idle",
                    lsn_or_null(sent), lag_or_null(sent, newest), lag_or_null(session.written, newest),
                    lag_or_null(session.applied, newest)});
    }
    answer.end();
}

void append_feeds(std::string& out, const RelayState& relay) {
    TableAnswer answer{
        out,
        {"feed", "database", "publications", "upstream", "slot", "received_lsn", "durable_lsn", "log_bytes",
         "problem", "state", "begin_lsn", "end_lsn", "sender_host", "sender_port"}};
    for (const auto& feed : relay.feeds) {
        const std::string problem = feed->problem();
        const auto range = log_range(*feed);
        const auto sender = feed->sender();
        answer.add({feed->name(), feed->config().database,
                    fmt::format("{}", fmt::join(feed->config().publications, ",")),
                    feed->config().upstream.conninfo.redacted(), feed->config().upstream.slot,
                    lsn_or_null(feed->mark().upto), lsn_or_null(feed->durable()),
                    std::to_string(feed->bytes()), problem.empty() ? Cell{} : problem, state_of(*feed),
                    range ? Cell{range->begin.to_string()} : std::nullopt,
                    range ? Cell{range->end.to_string()} : std::nullopt, sender ? Cell{sender->host} : Cell{},
                    sender ? Cell{sender->port} : Cell{}});
    }
    answer.end();
}

void append_wal(std::string& out, const RelayState& relay) {
    TableAnswer answer{
        out,
        {"upstream", "slot", "timeline", "begin_lsn", "received_lsn", "durable_lsn", "log_bytes", "xmin",
         "catalog_xmin", "problem", "state", "sender_host", "sender_port"}};
    if (relay.wal) {
        const UpstreamSlot& upstream = relay.wal->config().upstream;
        const log::WalLog* log = relay.wal->log();
        const log::WalPosition received = log == nullptr ? log::WalPosition{} : log->readable();
        StandbyHorizon horizon = relay.slots.horizon();
        horizon.include(relay.wal->horizon());
        const std::string problem = relay.wal->problem();
        const auto sender = relay.wal->sender();
        answer.add({upstream.conninfo.redacted(), upstream.slot,
                    log == nullptr ? Cell{} : std::to_string(received.timeline.value),
                    log == nullptr ? Cell{} : lsn_or_null(log->begin().lsn), lsn_or_null(received.lsn),
                    log == nullptr ? Cell{} : lsn_or_null(log->durable().lsn),
                    std::to_string(relay.wal->bytes()), transaction_or_null(horizon.xmin),
                    transaction_or_null(horizon.catalog_xmin), problem.empty() ? Cell{} : problem,
                    state_of(*relay.wal), sender ? Cell{sender->host} : Cell{},
                    sender ? Cell{sender->port} : Cell{}});
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
    } else if (name == "pgcascade.wal") {
        append_wal(out, relay);
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
