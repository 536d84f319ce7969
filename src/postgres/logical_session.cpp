#include "postgres/logical_session.hpp"

#include <fmt/format.h>

#include "postgres/relay_server.hpp"
#include "postgres/slots.hpp"
#include "protocol/replication_command.hpp"

namespace pgcascade::postgres {

namespace {

// A server that was reached through the same connection string may be another one by now.
void check_same_cluster(const ReplicationConnection& connection, const SystemIdentity& identity,
                        const std::string& before) {
    if (identity.system_identifier == before) return;
    throw Error(fmt::format("{} is another cluster now: its system identifier is {}, the stream began on {}",
                            connection.name(), identity.system_identifier, before),
                "check where the connection string leads; to read from the new cluster, start anew on a slot "
                "there");
}

void check_reaches(const ReplicationConnection& connection, const SystemIdentity& identity,
                   const StreamServer& server, Lsn position) {
    // A standby that was restarted may have to replay up to there again; a primary that is behind has lost
    // WAL.
    if (!server.is_standby && identity.flushed < position)
        throw Error(
            fmt::format("{}: the server's WAL ends at {}, before {}, up to which changes were delivered",
                        connection.name(), identity.flushed.to_string(), position.to_string()),
            "the server was restored, or a failover lost transactions: compare the data with the consumer's, "
            "then start on a new slot");
}

// The text of values must not depend on how the server, the database or the role is set up. Only the time
// zone stays theirs, or what the connection string says. The search path is empty for regclass and the like:
// their names are then qualified.
void fix_text_of_values(ReplicationConnection& connection) {
    if (is_relay(connection.commands())) return;  // it has done so where its feed comes from
    connection.commands().command(
        "SELECT pg_catalog.set_config('datestyle', 'ISO', false),"
        " pg_catalog.set_config('intervalstyle', 'postgres', false),"
        " pg_catalog.set_config('extra_float_digits', '3', false),"
        " pg_catalog.set_config('bytea_output', 'hex', false),"
        " pg_catalog.set_config('search_path', '', false)");
}

void create_slot(ReplicationConnection& connection, const StreamOptions& options, const Conninfo& conninfo) {
    if (options.from && !find_slot(connection.commands(), options.slot))
        throw ConfigError(
            fmt::format("slot \"{}\" does not exist yet, and a new one begins at the present: it can't "
                        "start from {}",
                        options.slot, options.from.to_string()),
            "leave out the position to start from, or name a slot that exists");
    LogicalSlotOptions slot;
    slot.name = options.slot;
    slot.if_not_exists = !options.temporary_slot;
    slot.temporary = options.temporary_slot;
    slot.on_notice = options.on_notice;
    if (!options.primary_conninfo.empty()) slot.primary = Conninfo::parse(options.primary_conninfo);
    if (create_logical_slot(connection.commands(), conninfo, slot) && options.on_notice)
        options.on_notice(fmt::format("created slot \"{}\" on {}", options.slot, connection.name()));
}

void check_from(const StreamOptions& options, const Slot& slot, const std::string& server) {
    if (!slot.confirmed_flush_lsn || !options.from || options.from >= *slot.confirmed_flush_lsn) return;
    throw ConfigError(
        fmt::format(
            "{}: can't start from {}: slot \"{}\" is confirmed up to {}, so the server sends nothing from "
            "before that again",
            server, options.from.to_string(), options.slot, slot.confirmed_flush_lsn->to_string()),
        "leave out the position to go on where the slot stands; what lies before it is only in the tables");
}

// The server goes on where the slot stands, if that is beyond the position that it is asked for.
void check_nothing_is_skipped(const Slot& slot, Lsn position, const std::string& server) {
    if (!slot.confirmed_flush_lsn || *slot.confirmed_flush_lsn <= position) return;
    throw Error(
        fmt::format(
            "{}: slot \"{}\" stands at {}, beyond {}, up to which changes were delivered: it was made "
            "anew, advanced, or read by somebody else meanwhile",
            server, slot.name, slot.confirmed_flush_lsn->to_string(), position.to_string()),
        "what lies between does not come any more: compare the consumer's data with the tables, then start "
        "anew");
}

void warn_of_standby(const StreamOptions& options, const StreamServer& server, const std::string& name) {
    if (!options.on_notice || !server.is_standby || server.hot_standby_feedback) return;
    options.on_notice(
        fmt::format("{} is a standby with hot_standby_feedback = off: vacuum on the primary can "
                    "invalidate the slot at any time; ALTER SYSTEM SET hot_standby_feedback = on there",
                    name));
}

protocol::StartLogicalReplication start_command(const StreamOptions& options, Lsn position) {
    std::string publications;
    for (const std::string& name : options.publications)
        publications += (publications.empty() ? "" : ",") + protocol::quote_identifier(name);
    protocol::StartLogicalReplication command{
        .slot = options.slot,
        .start = position,
        .options = {{"proto_version", "1"}, {"publication_names", publications}}};
    if (options.messages) command.options.push_back({"messages", "true"});
    return command;
}

void start(ReplicationConnection& connection, const protocol::StartLogicalReplication& command) {
    try {
        connection.start(command);
    } catch (const ServerError&) {
        // Somebody may have taken or dropped the slot since it was checked: then its state says it better.
        slot_for_pgoutput(connection.commands(), command.slot);
        throw;
    }
}

}  // namespace

LogicalSession open_session(const StreamOptions& options, const std::optional<Resumption>& resumption) {
    const Conninfo conninfo = Conninfo::parse(options.conninfo);
    LogicalSession session;
    ConnectOptions login;
    login.stop_fd = options.stop_fd;
    session.connection = std::make_unique<ReplicationConnection>(conninfo, login, options.on_notice);
    ReplicationConnection& connection = *session.connection;

    session.server = check_server(connection.commands());
    check_publications(connection.commands(), options.publications);
    const SystemIdentity identity = connection.identify_system();
    session.system_identifier = identity.system_identifier;
    session.timeline = identity.timeline;
    Lsn position = resumption ? resumption->position : options.from;
    if (resumption) {
        check_same_cluster(connection, identity, resumption->system_identifier);
        if (resumption->find_position)
            position = resumption->find_position(connection, identity, session.server);
        check_reaches(connection, identity, session.server, position);
    } else {
        warn_of_standby(options, session.server, connection.name());
        if (options.create_slot || options.temporary_slot) create_slot(connection, options, conninfo);
    }

    const Slot slot = slot_for_pgoutput(connection.commands(), options.slot);
    session.confirmed = slot.confirmed_flush_lsn.value_or(Lsn{});
    if (resumption)
        check_nothing_is_skipped(slot, position, connection.name());
    else
        check_from(options, slot, connection.name());
    fix_text_of_values(connection);
    start(connection, start_command(options, position));
    return session;
}

}  // namespace pgcascade::postgres
