// The commands of a session that are of logical replication only.

#include <algorithm>
#include <cctype>

#include <boost/asio/use_awaitable.hpp>
#include <fmt/format.h>

#include <pgcascade/error.hpp>

#include "base/diagnostics.hpp"
#include "postgres/relay_server.hpp"
#include "postgres/replication_connection.hpp"
#include "relay/answers.hpp"
#include "relay/blocking.hpp"
#include "relay/feed_source.hpp"
#include "relay/session.hpp"

namespace pgcascade::relay {

namespace {

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

// Before anything is copied: what the upstream passes through is in UTF8 too.
void Session::check_encoding() const {
    if (client_.replication == Client::Replication::kPhysical) return;
    if (!client_.client_encoding.empty() && !is_utf8(client_.client_encoding))
        throw ServerError(fmt::format("the relay's feeds are in UTF8, and are not converted to {}",
                                      client_.client_encoding),
                          "0A000", "subscribe with a database whose encoding is UTF8");
}

asio::awaitable<void> Session::create_logical_slot(const protocol::CreateReplicationSlot& command) {
    using Snapshot = CreateSlotOptions::Snapshot;
    check_logical();
    check_encoding();
    CreateSlotOptions options = read_options(command);
    if (command.plugin != "pgoutput")
        throw ServerError(
            fmt::format("a relay has the output plugin \"pgoutput\" only, not \"{}\"", command.plugin),
            "0A000");
    if (options.two_phase)
        throw ServerError("two-phase commit is not supported by this relay", "0A000",
                          "leave out two_phase: prepared transactions are sent when they commit");
    // A client that does not say that it wants none gets a snapshot where it could use it.
    if (options.snapshot == Snapshot::kExport && !options.names_snapshot && !client_.rights.pass_through)
        options.snapshot = Snapshot::kNothing;
    NewSlot wanted{.name = command.slot,
                   .kind = Slot::Kind::kLogical,
                   .database = client_.database,
                   .owner = client_.user,
                   .failover = options.failover};
    static_cast<void>(home_feed());
    const std::optional<std::string> snapshot = co_await make_snapshot(options.snapshot, wanted);
    const std::function<void()> create = [&] {
        if (command.temporary)
            temporary_slots_.push_back(relay_.slots.create_temporary(wanted, pid()));
        else
            relay_.slots.create(wanted);
    };
    co_await change_slots(create);
    append_created_slot(wire_.out(), relay_.slots.find(wanted.name).value_or(Slot{}), snapshot);
}

// Finds out where the slot begins. A snapshot is one of the upstream, so a slot of the upstream makes it,
// which ends with this session's connection there; what follows from its position comes from the log. Returns
// the name under which it was exported.
asio::awaitable<std::optional<std::string>> Session::make_snapshot(CreateSlotOptions::Snapshot action,
                                                                   NewSlot& wanted) {
    using Snapshot = CreateSlotOptions::Snapshot;
    const bool is_in_transaction = transaction_status() != protocol::TransactionStatus::kIdle;
    const char* const command = action == Snapshot::kUse ? "CREATE_REPLICATION_SLOT ... (SNAPSHOT 'use')"
                                                         : "CREATE_REPLICATION_SLOT ... (SNAPSHOT 'export')";
    if (action == Snapshot::kUse && !is_in_transaction)
        throw ServerError(fmt::format("{} must be called inside a transaction", command), "XX000");
    if (action == Snapshot::kExport && is_in_transaction)
        throw ServerError(fmt::format("{} must not be called inside a transaction", command), "XX000");
    if (action == Snapshot::kNothing) {
        wanted.position = co_await upstream_position();
        co_return std::nullopt;
    }
    PassThrough* const server = co_await upstream();
    const std::string slot = own_upstream_slot();
    const std::string create =
        fmt::format("CREATE_REPLICATION_SLOT \"{}\" TEMPORARY LOGICAL pgoutput (SNAPSHOT '{}')", slot,
                    action == Snapshot::kUse ? "use" : "export");
    const postgres::Result made = co_await server->command(create);
    wanted.position = made.lsn(0, 1).value_or(Lsn{});
    if (action == Snapshot::kExport) exporting_slot_ = slot;
    if (made.is_null(0, 2)) co_return std::nullopt;
    co_return std::string{made.at(0, 2)};
}

// With the next command, as SnapBuildClearExportedSnapshot(). The upstream's slot must not hold its WAL for
// as long as the client stays.
asio::awaitable<void> Session::end_export() {
    if (exporting_slot_.empty()) co_return;
    const std::string drop = fmt::format("DROP_REPLICATION_SLOT \"{}\"", std::exchange(exporting_slot_, {}));
    try {
        co_await upstream_->command(drop);
    } catch (const Error&) {  // then it ends with the connection
        upstream_.reset();
    }
}

// None that this relay has used before, in an earlier life either: a crash may have left one behind.
std::string Session::own_upstream_slot() {
    constexpr std::size_t kPrefixBytes = 30;
    return fmt::format("{:.{}}_{}_{}_{}", home_feed().config().upstream.slot, kPrefixBytes, relay_.life,
                       identity_.pid, ++upstream_slots_);
}

asio::awaitable<void> Session::run(protocol::StartLogicalReplication command) {
    check_logical();
    const auto slot = permitted_slot(command.slot);
    if (slot && !slot->is_logical())
        throw ServerError("cannot use physical replication slot for logical decoding", "55000");
    if (slot && slot->database != client_.database)
        throw ServerError(
            fmt::format("replication slot \"{}\" was not created in this database", command.slot), "55000");
    const PgoutputOptions options = read_pgoutput_options(command.options);
    Feed& feed = feed_for(options.publications);
    if (options.messages && !feed.config().messages)
        throw ServerError(
            fmt::format("feed \"{}\" holds no messages of pg_logical_emit_message()", feed.name()), "0A000",
            fmt::format("write messages = true into [feed.{}] of relay.toml, or leave the option out",
                        feed.name()));
    const FeedSelection selection{.only_local = options.only_local,
                                  .no_messages = feed.config().messages && !options.messages};
    check_encoding();

    const SlotLease* const own = own_temporary_slot(command.slot);
    SlotLease acquired;
    if (own == nullptr) acquired = relay_.slots.acquire(command.slot, pid());
    const SlotLease& lease = own == nullptr ? acquired : *own;
    const Slot acquired_slot = relay_.slots.find(command.slot).value_or(Slot{});
    const std::function<void()> bind = [&] { relay_.slots.bind(lease, feed.name()); };
    if (acquired_slot.has_lost(command.start)) co_await give_up(lease, feed, command.start);
    if (acquired_slot.feed != feed.name() || acquired_slot.left_at) co_await change_slots(bind);

    // The snapshot that a table was copied by is not needed any more, nor the slot that holds it.
    upstream_.reset();
    co_await stream_feed(feed, acquired_slot.start_for(command.start), selection, lease);
    protocol::append_command_complete(wire_.out(), "COPY 0");
    protocol::append_command_complete(wire_.out(), "START_REPLICATION");
}

// Its client has applied what the upstream lost in a failover, though it had not confirmed it.
asio::awaitable<void> Session::give_up(const SlotLease& lease, const Feed& feed, Lsn requested) {
    const std::function<void()> invalidate = [&] { relay_.slots.invalidate(lease.slot(), "diverged"); };
    co_await change_slots(invalidate);
    diagnostics::warning(
        fmt::format(
            "{}: slot \"{}\" is invalidated: its client asks to go on at {}, and so holds what is not "
            "in the upstream's history",
            feed.label(), lease.slot(), requested.to_string()),
        feed.way_back());
    throw_lost(lease);
}

asio::awaitable<void> Session::stream_feed(const Feed& feed, Lsn start, const FeedSelection& selection,
                                           const SlotLease& lease) {
    FeedSource source{feed, start, selection, [&](const protocol::StandbyStatusUpdate& status) {
                          if (status.flushed && !lease.advance(status.flushed)) throw_lost(lease);
                          note_status(status);
                      }};
    if (!lease.advance(Lsn{})) throw_lost(lease);  // by a failover, since the start was chosen
    relay_.sessions.update(identity_.pid, [&](SessionInfo& info) { info.feed = feed.name(); });
    co_await run_stream(source, feed, lease.slot());
}

// All that is committed there now lies before it. An upstream that is a relay says for itself only how far it
// has received; for a slot, it asks its own upstream.
asio::awaitable<Lsn> Session::upstream_position() {
    const auto ask = [&upstream = home_feed().config().upstream, slot = own_upstream_slot()] {
        postgres::ReplicationConnection connection{upstream.conninfo};
        if (!is_relay(connection.commands())) return connection.identify_system().flushed;
        const postgres::Result made = connection.commands().command(to_string(protocol::CreateReplicationSlot{
            .slot = slot, .temporary = true, .plugin = "pgoutput", .options = {{"snapshot", "nothing"}}}));
        return made.lsn(0, 1).value_or(Lsn{});
    };
    co_return co_await run_blocking(relay_.for_upstream, ask);
}

}  // namespace pgcascade::relay
