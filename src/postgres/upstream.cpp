#include "postgres/upstream.hpp"

#include <utility>

#include <fmt/format.h>

#include "postgres/relay_server.hpp"

namespace pgcascade::postgres {

namespace {

// A chain longer than this is a circle: of standbys that feed each other after a mistaken primary_conninfo.
constexpr int kLongestChain = 64;

bool is_local(std::string_view host) {
    return host.empty() || host.front() == '/' || host == "localhost" || host == "::1" ||
           host.starts_with("127.");
}

std::string system_identifier(Connection& connection) {
    if (is_relay(connection)) return std::string{connection.command("IDENTIFY_SYSTEM").at(0, 0)};
    return std::string{
        connection.command("SELECT system_identifier FROM pg_catalog.pg_control_system()").at(0, 0)};
}

std::string host_in_use(const Connection& connection) {
    const char* host = PQhost(connection.native());
    return host != nullptr ? host : "";
}

std::unique_ptr<Connection> connect_to_relative(Connection& standby, const Conninfo& conninfo) {
    auto connection = std::make_unique<Connection>(conninfo, ConnectOptions{.stop_fd = standby.stop_fd()});
    if (system_identifier(*connection) != system_identifier(standby))
        throw ServerError(
            fmt::format("{} is a server of another cluster than {}", connection->name(), standby.name()), "",
            "name the primary of this standby itself: --primary CONNINFO");
    return connection;
}

Conninfo upstream_of_relay(Connection& relay, const Conninfo& conninfo) {
    const auto wal = find_wal(relay);
    if (!wal)
        throw ServerError(relay.name() + " is a relay without WAL, which feeds no standby", "55000",
                          "name the primary: --primary CONNINFO");
    if (!wal->sender)
        throw ServerError(
            fmt::format("{}, a relay, receives WAL from no server now, so its primary can't be found{}",
                        relay.name(), wal->problem.empty() ? "" : ": " + wal->problem),
            "55000",
            "see to [wal] in its relay.toml and to what it says, or name the primary: --primary CONNINFO");
    return conninfo_of_sender(relay, conninfo, wal->sender->host, wal->sender->port);
}

}  // namespace

bool is_in_recovery(Connection& connection) {
    if (is_relay(connection)) return true;
    return connection.command("SELECT pg_is_in_recovery()").boolean(0, 0);
}

Conninfo upstream_conninfo(Connection& standby, const Conninfo& conninfo) {
    if (is_relay(standby)) return upstream_of_relay(standby, conninfo);
    const Result sender = standby.command(
        "SELECT sender_host, sender_port, status IS NULL, current_user FROM pg_catalog.pg_stat_wal_receiver");
    if (sender.rows() == 0)
        throw ServerError(standby.name() + " receives WAL from no server now, so its primary can't be found",
                          "55000",
                          "see to its primary_conninfo and its log, or name the primary: --primary CONNINFO");
    if (sender.is_null(0, 0))
        throw ServerError(
            fmt::format("{}: the role {} may not see who feeds this standby", standby.name(),
                        sender.at(0, 3)),
            "42501",
            fmt::format("on the primary: GRANT pg_read_all_stats TO \"{}\"; or name the primary: "
                        "--primary CONNINFO",
                        sender.at(0, 3)));
    return conninfo_of_sender(standby, conninfo, std::string{sender.at(0, 0)}, sender.at(0, 1));
}

Conninfo conninfo_of_sender(const Connection& standby, const Conninfo& conninfo, std::string host,
                            std::string_view port) {
    const std::string reached_by = host_in_use(standby);
    if (is_local(host) && !is_local(reached_by)) host = reached_by;
    return conninfo.without("hostaddr").with("host", host).with("port", port);
}

LoginError refusal_on_the_way(const LoginError& refusal) {
    return {
        refusal.what(), refusal.sqlstate(),
        refusal.hint() + (refusal.hint().empty() ? "" : "; ") +
            "if a relay answers there: it lets in whom its users file names (pgcascade relay --new-user)"};
}

ServerAtConninfo connect_to_primary(Connection& standby, const Conninfo& conninfo) {
    ServerAtConninfo here{conninfo, nullptr};
    Connection* lowest = &standby;
    for (int hop = 0; hop < kLongestChain; ++hop) {
        here.conninfo = upstream_conninfo(*lowest, here.conninfo);
        try {
            here.connection = connect_to_relative(standby, here.conninfo);
        } catch (const LoginError& refusal) {
            throw refusal_on_the_way(refusal);
        }
        lowest = here.connection.get();
        if (!is_in_recovery(*lowest)) return here;
    }
    throw ServerError(fmt::format("{}: the chain of its upstreams leads to no primary within {} servers",
                                  standby.name(), kLongestChain),
                      "55000", "see to primary_conninfo on them: they feed each other in a circle");
}

ServerAtConninfo connect_to_named_primary(Connection& standby, const Conninfo& primary) {
    ServerAtConninfo named{primary, connect_to_relative(standby, primary)};
    if (is_relay(*named.connection))
        throw ServerError(
            named.connection->name() + ", named as the primary, is a relay", "55000",
            "name the server that the relay gets its WAL from in the end, or none: it is found");
    if (is_in_recovery(*named.connection))
        throw ServerError(named.connection->name() + ", named as the primary, is a standby itself", "55000",
                          "name the server where pg_is_in_recovery() is false, or none: it is found");
    return named;
}

}  // namespace pgcascade::postgres
