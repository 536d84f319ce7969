// The commands of a session that are of logical replication only.

#include <algorithm>
#include <cctype>

#include <boost/asio/use_awaitable.hpp>
#include <fmt/format.h>

#include <pgcascade/error.hpp>

#include "postgres/relay_server.hpp"
#include "postgres/replication_connection.hpp"
#include "relay/answers.hpp"
#include "relay/blocking.hpp"
#include "relay/feed_source.hpp"
#include "relay/session.hpp"

namespace pgcascade::relay {

namespace {

std::string option_value(const std::vector<protocol::CommandOption>& options, std::string_view name,
                         const std::string& otherwise) {
    for (const auto& option : options)
        if (option.name == name) return option.value.value_or("true");
    return otherwise;
}

// UTF8, utf-8 and unicode are one encoding (encnames.c).
bool is_utf8(std::string_view encoding) {
    std::string letters;
    for (const char byte : encoding)
        if (std::isalnum(static_cast<unsigned char>(byte)) != 0)
            letters += static_cast<char>(std::tolower(static_cast<unsigned char>(byte)));
    return letters == "utf8" || letters == "unicode";
}

}  // namespace

// On a connection to no database a server decodes nothing either (logical.c,
// CheckLogicalDecodingRequirements).
void Session::check_logical() const {
    if (client_.replication == Client::Replication::kPhysical)
        throw ServerError("logical decoding requires a database connection", "55000");
}

asio::awaitable<void> Session::create_logical_slot(const protocol::CreateReplicationSlot& command) {
    check_logical();
    if (command.plugin != "pgoutput")
        throw ServerError(
            fmt::format("a relay has the output plugin \"pgoutput\" only, not \"{}\"", command.plugin),
            "0A000");
    if (is_true(option_value(command.options, "two_phase", "false")))
        throw ServerError("two-phase commit is not supported by this relay", "0A000",
                          "leave out two_phase: prepared transactions are sent when they commit");
    NewSlot wanted{.name = command.slot,
                   .kind = Slot::Kind::kLogical,
                   .feed = home_feed().name(),
                   .failover = is_true(option_value(command.options, "failover", "false"))};

    std::optional<std::string> snapshot;
    const std::string use = option_value(command.options, "snapshot", "export");
    if (use != "export" && use != "nothing" && use != "use")
        throw ServerError(
            fmt::format("unrecognized value for CREATE_REPLICATION_SLOT option \"snapshot\": \"{}\"", use),
            "22023");
    if (use == "use" && transaction_status() != protocol::TransactionStatus::kInTransaction)
        throw ServerError("CREATE_REPLICATION_SLOT ... (SNAPSHOT 'use') must be called inside a transaction",
                          "XX000");
    if (use == "use") {
        // The snapshot lives in the upstream's transaction, so a slot of the upstream makes it. That one ends
        // with the connection; what follows from its position comes from the log.
        PassThrough* const server = co_await upstream();
        const std::string create =
            fmt::format("CREATE_REPLICATION_SLOT \"{}_{}\" TEMPORARY LOGICAL pgoutput (SNAPSHOT 'use')",
                        home_feed().config().upstream.slot, identity_.pid);
        const postgres::Result made = co_await server->command(create);
        wanted.position = made.lsn(0, 1).value_or(Lsn{});
    } else {
        wanted.position = co_await upstream_position();
    }
    const auto create = [&] { relay_.slots.create(wanted); };
    const auto create_temporary = [&] { return relay_.slots.create_temporary(wanted, pid()); };
    if (command.temporary)
        temporary_slots_.push_back(co_await run_blocking(relay_.blocking, create_temporary));
    else
        co_await run_blocking(relay_.blocking, create);
    append_created_slot(wire_.out(), relay_.slots.find(wanted.name).value_or(Slot{}), snapshot);
}

asio::awaitable<void> Session::run(protocol::StartLogicalReplication command) {
    check_logical();
    const auto slot = relay_.slots.find(command.slot);
    if (slot && !slot->is_logical())
        throw ServerError("cannot use physical replication slot for logical decoding", "55000");
    if (slot && !is_in_database(*slot))
        throw ServerError(
            fmt::format("replication slot \"{}\" was not created in this database", command.slot), "55000");
    const PgoutputOptions options = read_pgoutput_options(command.options);
    Feed& feed = feed_for(options.publications);
    if (!client_.client_encoding.empty() && !is_utf8(client_.client_encoding))
        throw ServerError(fmt::format("the relay's feeds are in UTF8, and are not converted to {}",
                                      client_.client_encoding),
                          "0A000");

    const SlotLease* const own = own_temporary_slot(command.slot);
    SlotLease acquired;
    if (own == nullptr) acquired = relay_.slots.acquire(command.slot, pid());
    const SlotLease& lease = own == nullptr ? acquired : *own;
    const Lsn confirmed = relay_.slots.find(command.slot).value_or(Slot{}).position;

    // The snapshot that a table was copied by is not needed any more, nor the slot that holds it.
    upstream_.reset();
    co_await stream_feed(feed, std::max(command.start, confirmed), options.only_local, lease);
    protocol::append_command_complete(wire_.out(), "COPY 0");
    protocol::append_command_complete(wire_.out(), "START_REPLICATION");
}

asio::awaitable<void> Session::stream_feed(const Feed& feed, Lsn start, bool only_local,
                                           const SlotLease& lease) {
    FeedSource source{feed, start, only_local, [&](const protocol::StandbyStatusUpdate& status) {
                          if (status.flushed && !lease.advance(status.flushed)) throw_invalidated(lease);
                          note_status(status);
                      }};
    relay_.sessions.update(identity_.pid, [&](SessionInfo& info) { info.feed = feed.name(); });
    co_await run_stream(source, feed, lease.slot());
}

// All that is committed there now lies before it. An upstream that is a relay says for itself only how far it
// has received; for a slot, it asks its own upstream.
asio::awaitable<Lsn> Session::upstream_position() {
    const auto ask = [&upstream = home_feed().config().upstream, number = identity_.pid] {
        postgres::ReplicationConnection connection{upstream.conninfo};
        if (!is_relay(connection.commands())) return connection.identify_system().flushed;
        const postgres::Result slot = connection.commands().command(
            to_string(protocol::CreateReplicationSlot{.slot = fmt::format("{}_{}", upstream.slot, number),
                                                      .temporary = true,
                                                      .plugin = "pgoutput",
                                                      .options = {{"snapshot", "nothing"}}}));
        return slot.lsn(0, 1).value_or(Lsn{});
    };
    co_return co_await run_blocking(relay_.blocking, ask);
}

}  // namespace pgcascade::relay
