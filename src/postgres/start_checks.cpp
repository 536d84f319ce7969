#include "postgres/start_checks.hpp"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <pgcascade/error.hpp>

#include "postgres/relay_server.hpp"
#include "protocol/replication_command.hpp"

namespace pgcascade::postgres {

namespace {

constexpr int kOldestServer = 150000;
constexpr int kOldestDecodingStandby = 160000;

void check_version(const Connection& connection) {
    if (connection.server_version() >= kOldestServer) return;
    throw ServerError(fmt::format("{}: PostgreSQL {} is too old", connection.name(),
                                  connection.parameter("server_version")),
                      "0A000", "pgcascade streams from PostgreSQL 15 and later");
}

void check_standby_version(const Connection& connection) {
    if (connection.server_version() >= kOldestDecodingStandby) return;
    throw ServerError(fmt::format("{} is a standby of PostgreSQL {}, which can't decode", connection.name(),
                                  connection.parameter("server_version")),
                      "0A000", "stream from the primary, or upgrade: standbys decode from PostgreSQL 16 on");
}

void check_wal_level(const Connection& connection, std::string_view wal_level, bool is_standby) {
    if (wal_level == "logical") return;
    throw ServerError(
        fmt::format("{} has wal_level = {}, which does not hold what decoding needs", connection.name(),
                    wal_level),
        "55000",
        is_standby
            ? "ALTER SYSTEM SET wal_level = 'logical' on this standby and on the primary, then restart both, "
              "the primary first"
            : "ALTER SYSTEM SET wal_level = 'logical', then restart the server");
}

}  // namespace

StreamServer check_server(Connection& connection) {
    check_version(connection);
    if (is_relay(connection)) {
        const Result timeout = connection.command("SHOW pgcascade.wal_sender_timeout");
        // As a standby: after a crash it may have to fetch again what it had sent.
        return {.is_standby = true,
                .hot_standby_feedback = true,
                .wal_sender_timeout = std::chrono::milliseconds{timeout.integer(0, 0)},
                .run = connection.parameter(kRelayParameter)};
    }
    const Result facts = connection.command(
        "SELECT pg_catalog.pg_is_in_recovery(), pg_catalog.current_setting('wal_level'),"
        " pg_catalog.current_setting('hot_standby_feedback')::pg_catalog.bool,"
        " (SELECT setting FROM pg_catalog.pg_settings WHERE name = 'wal_sender_timeout'),"
        " pg_catalog.date_part('epoch', pg_catalog.pg_postmaster_start_time())::pg_catalog.numeric(20, 6)");
    StreamServer server;
    server.is_standby = facts.boolean(0, 0);
    server.hot_standby_feedback = facts.boolean(0, 2);
    server.wal_sender_timeout = std::chrono::milliseconds{facts.integer(0, 3)};
    server.run = facts.at(0, 4);
    if (server.is_standby) check_standby_version(connection);
    check_wal_level(connection, facts.at(0, 1), server.is_standby);
    return server;
}

void check_publications(Connection& connection, const std::vector<std::string>& publications) {
    if (is_relay(connection)) return;  // it starts no stream for others than its feeds have
    const Result names =
        connection.command("SELECT pubname FROM pg_catalog.pg_publication ORDER BY pubname COLLATE \"C\"");
    std::vector<std::string> existing;
    for (int row = 0; row < names.rows(); ++row) existing.emplace_back(names.at(row, 0));

    std::vector<std::string> missing;
    for (const std::string& name : publications)
        if (std::find(existing.begin(), existing.end(), name) == existing.end()) missing.push_back(name);
    if (missing.empty()) return;

    const std::string database{PQdb(connection.native())};
    std::string hint =
        existing.empty()
            ? fmt::format(
                  "database \"{}\" has no publication; on the primary: CREATE PUBLICATION {} FOR ALL TABLES, "
                  "and only then create the slot",
                  database, protocol::quote_identifier(missing.front()))
            : fmt::format("database \"{}\" has: {}", database, fmt::join(existing, ", "));
    throw ServerError(fmt::format("{}: publication \"{}\" does not exist in database \"{}\"",
                                  connection.name(), fmt::join(missing, "\", \""), database),
                      "42704", std::move(hint));
}

}  // namespace pgcascade::postgres
