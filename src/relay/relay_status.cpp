#include "relay/relay_status.hpp"

#include <algorithm>
#include <tuple>

#include <fmt/format.h>

#include <pgcascade/error.hpp>

#include "postgres/relay_server.hpp"

namespace pgcascade::relay {

namespace {

// One row of an answer, by the names of its columns: relays of later versions have more of them.
class NamedRow {
  public:
    NamedRow(const postgres::Result& result, int row) : result_(result), row_(row) {}

    std::string text(const char* column) const { return std::string{result_.at(row_, number(column))}; }
    std::int64_t integer(const char* column) const { return result_.integer(row_, number(column)); }
    bool boolean(const char* column) const { return result_.boolean(row_, number(column)); }
    std::optional<Lsn> lsn(const char* column) const { return result_.lsn(row_, number(column)); }
    std::optional<std::int64_t> number_or_null(const char* column) const {
        if (result_.is_null(row_, number(column))) return std::nullopt;
        return integer(column);
    }
    Progress progress(const char* lsn_column, const char* lag_column) const {
        return {.lsn = lsn(lsn_column), .lag_bytes = number_or_null(lag_column)};
    }

  private:
    int number(const char* column) const {
        const int number = PQfnumber(result_.native(), column);
        if (number < 0)
            throw ProtocolError(fmt::format("the relay does not tell {}: it is of another version", column));
        return number;
    }

    const postgres::Result& result_;
    const int row_;
};

WalStatus read_wal(const NamedRow& row) {
    return {.upstream = row.text("upstream"),
            .slot = row.text("slot"),
            .state = row.text("state"),
            .timeline = row.number_or_null("timeline"),
            .begin = row.lsn("begin_lsn"),
            .received = row.lsn("received_lsn"),
            .durable = row.lsn("durable_lsn"),
            .log_bytes = row.integer("log_bytes"),
            .problem = row.text("problem")};
}

FeedStatus read_feed(const NamedRow& row) {
    return {.name = row.text("feed"),
            .database = row.text("database"),
            .publications = row.text("publications"),
            .upstream = row.text("upstream"),
            .slot = row.text("slot"),
            .state = row.text("state"),
            .received = row.lsn("received_lsn"),
            .durable = row.lsn("durable_lsn"),
            .log_bytes = row.integer("log_bytes"),
            .begin = row.lsn("begin_lsn"),
            .end = row.lsn("end_lsn"),
            .problem = row.text("problem")};
}

SlotStatus read_slot(const NamedRow& row) {
    return {.name = row.text("slot_name"),
            .database = row.text("database"),
            .temporary = row.boolean("temporary"),
            .active = row.boolean("active"),
            .position = row.lsn("restart_lsn"),
            .lag_bytes = row.integer("retained_bytes"),
            .retained_log_bytes = row.integer("retained_log_bytes"),
            .invalidation_reason = row.text("invalidation_reason")};
}

SessionStatus read_session(const NamedRow& row) {
    return {.pid = static_cast<int>(row.integer("pid")),
            .client = row.text("client"),
            .user = row.text("user"),
            .database = row.text("database"),
            .application_name = row.text("application_name"),
            .slot = row.text("slot"),
            .feed = row.text("feed"),
            .state = row.text("state"),
            .sent = row.progress("sent_lsn", "sent_lag_bytes"),
            .write = row.progress("write_lsn", "write_lag_bytes"),
            .flush = row.progress("flush_lsn", "lag_bytes"),
            .apply = row.progress("apply_lsn", "apply_lag_bytes")};
}

template <class Row>
std::vector<Row> read_table(postgres::Connection& connection, const char* table,
                            Row (*read)(const NamedRow&)) {
    const postgres::Result result = connection.command(table);
    std::vector<Row> rows;
    for (int row = 0; row < result.rows(); ++row) rows.push_back(read(NamedRow{result, row}));
    return rows;
}

template <class Log>
void add_problem(const std::string& name, const Log& log, std::vector<RelayProblem>& problems) {
    if (log.state == "paused")
        problems.push_back(
            {name + "its log has reached max_bytes, so nothing is received",
             "see which slot lags: its subscriber has to move on, or the slot has to be dropped"});
    else if (!log.problem.empty())
        problems.push_back({name + log.problem, {}});
    else if (log.state != "receiving")
        problems.push_back({name + "its upstream is not connected yet", {}});
}

// The smaller, the better: what needs no password, then what stays on this machine.
auto rank(const ListenAddress& address, const RelayConfig& config) {
    const auto host = address.is_local() ? Address::local() : Address::parse(address.host);
    const bool is_trusted = host && config.trusts(*host);
    const bool is_loopback = address.host == "localhost" || (host && host->is_loopback());
    return std::tuple{!is_trusted, !address.is_local(), !is_loopback};
}

// What listens everywhere is reached at the loopback address, too.
std::string host_to_connect_to(const ListenAddress& address) {
    if (address.is_local()) return address.directory.string();
    if (address.host == "0.0.0.0") return "127.0.0.1";
    return address.host == "::" ? "::1" : address.host;
}

}  // namespace

RelayStatus read_status(postgres::Connection& connection) {
    if (!is_relay(connection))
        throw Error(connection.name() + " is a server, no relay",
                    "pgcascade slot list shows its slots, pgcascade status the tree of a cascade file");
    RelayStatus status;
    status.relay = connection.name();
    const std::vector<WalStatus> wal = read_table(connection, "SHOW pgcascade.wal", read_wal);
    if (!wal.empty()) status.wal = wal.front();
    status.feeds = read_table(connection, "SHOW pgcascade.feeds", read_feed);
    status.slots = read_table(connection, "SHOW pgcascade.slots", read_slot);
    status.sessions = read_table(connection, "SHOW pgcascade.sessions", read_session);
    std::erase_if(status.sessions, [&](const SessionStatus& session) {
        return session.pid == PQbackendPID(connection.native());
    });
    return status;
}

std::vector<RelayProblem> problems_of(const RelayStatus& status) {
    std::vector<RelayProblem> problems;
    if (status.wal) add_problem("wal: ", *status.wal, problems);
    for (const FeedStatus& feed : status.feeds)
        add_problem(fmt::format("feed {}: ", feed.name), feed, problems);
    for (const SlotStatus& slot : status.slots) {
        if (!slot.is_invalidated()) continue;
        const char* const way_back = slot.database.empty() ? "its standby needs a new base backup"
                                                           : "its subscriber needs a new copy of the data";
        problems.push_back(
            {fmt::format("slot {}: it was invalidated: {}", slot.name, slot.invalidation_reason),
             fmt::format("{}; drop the slot: pgcascade slot drop", way_back)});
    }
    return problems;
}

postgres::Conninfo conninfo_of(const RelayConfig& config) {
    const ListenAddress& nearest =
        *std::min_element(config.listen.begin(), config.listen.end(),
                          [&](const ListenAddress& one, const ListenAddress& other) {
                              return rank(one, config) < rank(other, config);
                          });
    const postgres::Conninfo conninfo = postgres::Conninfo{}
                                            .with("host", host_to_connect_to(nearest))
                                            .with("port", std::to_string(nearest.port));
    return config.feeds.empty() ? conninfo : conninfo.with("dbname", config.feeds.front().database);
}

}  // namespace pgcascade::relay
