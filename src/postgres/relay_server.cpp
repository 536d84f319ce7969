#include "postgres/relay_server.hpp"

#include <map>

#include <fmt/format.h>

namespace pgcascade::postgres {

namespace {

// The columns by their names: a later relay may have more.
class Table {
  public:
    Table(Connection& relay, const std::string& name) : result_(relay.command("SHOW " + name)) {
        for (int column = 0; column < result_.columns(); ++column)
            columns_[PQfname(result_.native(), column)] = column;
        name_ = name;
    }

    int rows() const { return result_.rows(); }
    std::string text(int row, const char* name) const { return std::string{result_.at(row, column(name))}; }
    std::optional<Lsn> lsn(int row, const char* name) const { return result_.lsn(row, column(name)); }
    std::int64_t integer(int row, const char* name) const { return result_.integer(row, column(name)); }
    bool is_null(int row, const char* name) const { return result_.is_null(row, column(name)); }
    std::optional<RelaySender> sender(int row) const {
        if (is_null(row, "sender_host")) return std::nullopt;
        return RelaySender{text(row, "sender_host"), text(row, "sender_port")};
    }

  private:
    int column(const char* name) const {
        const auto found = columns_.find(name);
        if (found == columns_.end())
            throw ProtocolError(fmt::format("the relay's {} has no column \"{}\"", name_, name));
        return found->second;
    }

    Result result_;
    std::string name_;
    std::map<std::string, int> columns_;
};

}  // namespace

std::vector<RelayFeed> list_feeds(Connection& relay) {
    const Table table{relay, "pgcascade.feeds"};
    std::vector<RelayFeed> feeds;
    for (int row = 0; row < table.rows(); ++row)
        feeds.push_back({.name = table.text(row, "feed"),
                         .database = table.text(row, "database"),
                         .slot = table.text(row, "slot"),
                         .received = table.lsn(row, "received_lsn"),
                         .durable = table.lsn(row, "durable_lsn"),
                         .log_bytes = table.integer(row, "log_bytes"),
                         .problem = table.text(row, "problem"),
                         .sender = table.sender(row)});
    return feeds;
}

std::optional<RelayWal> find_wal(Connection& relay) {
    const Table table{relay, "pgcascade.wal"};
    if (table.rows() == 0) return std::nullopt;
    RelayWal wal{.slot = table.text(0, "slot"),
                 .timeline = {},
                 .begin = table.lsn(0, "begin_lsn"),
                 .received = table.lsn(0, "received_lsn"),
                 .durable = table.lsn(0, "durable_lsn"),
                 .log_bytes = table.integer(0, "log_bytes"),
                 .problem = table.text(0, "problem"),
                 .sender = table.sender(0)};
    if (!table.is_null(0, "timeline"))
        wal.timeline = TimelineId{static_cast<std::uint32_t>(table.integer(0, "timeline"))};
    return wal;
}

std::vector<RelaySession> list_sessions(Connection& relay) {
    const Table table{relay, "pgcascade.sessions"};
    std::vector<RelaySession> sessions;
    for (int row = 0; row < table.rows(); ++row) {
        RelaySession session{.pid = static_cast<int>(table.integer(row, "pid")),
                             .client = table.text(row, "client"),
                             .application_name = table.text(row, "application_name"),
                             .slot = table.text(row, "slot"),
                             .written = table.lsn(row, "write_lsn"),
                             .flushed = table.lsn(row, "flush_lsn"),
                             .applied = table.lsn(row, "apply_lsn"),
                             .lag_bytes = {}};
        if (!table.is_null(row, "lag_bytes")) session.lag_bytes = table.integer(row, "lag_bytes");
        sessions.push_back(std::move(session));
    }
    return sessions;
}

}  // namespace pgcascade::postgres
