// The commands of a session: what each one does, and answers.

#include <algorithm>
#include <cctype>

#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fmt/format.h>

#include <pgcascade/error.hpp>

#include "base/clock.hpp"
#include "postgres/relay_server.hpp"
#include "postgres/replication_connection.hpp"
#include "relay/answers.hpp"
#include "relay/blocking.hpp"
#include "relay/feed_source.hpp"
#include "relay/relay_tables.hpp"
#include "relay/session.hpp"

namespace pgcascade::relay {

namespace {

constexpr std::chrono::milliseconds kLookAgain{100};

[[noreturn]] void refuse(const std::string& what) {
    throw ServerError(what, "0A000");
}

std::string option_value(const std::vector<protocol::CommandOption>& options, std::string_view name,
                         const std::string& otherwise) {
    for (const auto& option : options)
        if (option.name == name) return option.value.value_or("true");
    return otherwise;
}

bool is_true(const std::string& value) {
    return value == "true" || value == "on" || value == "1" || value == "yes";
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

asio::awaitable<void> Session::run(protocol::IdentifySystem) {
    append_identify_system(wire_.out(), facts(), home_feed().mark().upto, client_.database);
    co_return;
}

asio::awaitable<void> Session::run(protocol::Show command) {
    if (append_relay_table(wire_.out(), command.setting, relay_)) co_return;
    const UpstreamFacts known = facts();
    const std::string text = to_string(protocol::ReplicationCommand{command});
    if (const auto found = known.parameters.find(command.setting); found != known.parameters.end())
        append_show(wire_.out(), command.setting, found->second);
    else if (command.setting == "data_directory_mode")
        append_show(wire_.out(), command.setting, "0700");
    else
        co_await pass_through(text);
}

asio::awaitable<void> Session::run(protocol::TimelineHistory) {
    refuse("this relay serves no physical replication");
    co_return;
}

asio::awaitable<void> Session::run(protocol::ReadReplicationSlot command) {
    const auto slot = relay_.slots.find(command.slot);
    if (slot && slot->is_logical())
        throw ServerError("cannot use READ_REPLICATION_SLOT with a logical replication slot", "0A000");
    append_read_slot(wire_.out(), slot, facts().timeline);
    co_return;
}

asio::awaitable<void> Session::run(protocol::CreateReplicationSlot command) {
    if (command.plugin.empty()) refuse("this relay serves no physical replication");
    if (command.plugin != "pgoutput")
        refuse(fmt::format("a relay has the output plugin \"pgoutput\" only, not \"{}\"", command.plugin));
    if (is_true(option_value(command.options, "two_phase", "false")))
        throw ServerError("two-phase commit is not supported by this relay", "0A000",
                          "leave out two_phase: prepared transactions are sent when they commit");
    NewSlot wanted{.name = command.slot,
                   .kind = Slot::Kind::kLogical,
                   .feed = home_feed().name(),
                   .failover = is_true(option_value(command.options, "failover", "false"))};
    check_slot_name(wanted.name);
    if (relay_.slots.find(wanted.name))
        throw ServerError(fmt::format("replication slot \"{}\" already exists", wanted.name), "42710");

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

asio::awaitable<void> Session::wait_until_free(const std::string& slot) {
    asio::steady_timer timer{wire_.executor()};
    while (!relay_.slots.is_free(slot, pid())) {
        timer.expires_after(kLookAgain);
        co_await timer.async_wait(asio::use_awaitable);
    }
}

asio::awaitable<void> Session::run(protocol::DropReplicationSlot command) {
    if (command.wait) co_await wait_until_free(command.slot);
    const auto own = std::find_if(temporary_slots_.begin(), temporary_slots_.end(),
                                  [&](const SlotLease& lease) { return lease.slot() == command.slot; });
    const auto drop = [&] { relay_.slots.drop(command.slot, pid()); };
    if (own != temporary_slots_.end())
        temporary_slots_.erase(own);
    else
        co_await run_blocking(relay_.blocking, drop);
    protocol::append_command_complete(wire_.out(), "DROP_REPLICATION_SLOT");
}

asio::awaitable<void> Session::run(protocol::AlterReplicationSlot command) {
    SlotChange change;
    for (const auto& option : command.options) {
        const bool value = is_true(option.value.value_or("true"));
        if (option.name == "failover")
            change.failover = value;
        else if (option.name == "two_phase" && !value)
            change.two_phase = value;
        else if (option.name == "two_phase")
            refuse("two-phase commit is not supported by this relay");
        else
            throw ServerError(fmt::format("unrecognized option: {}", option.name), "42601");
    }
    co_await wait_until_free(command.slot);
    const auto alter = [&] { relay_.slots.alter(command.slot, pid(), change); };
    co_await run_blocking(relay_.blocking, alter);
    protocol::append_command_complete(wire_.out(), "ALTER_REPLICATION_SLOT");
}

asio::awaitable<void> Session::run(protocol::StartPhysicalReplication) {
    refuse("this relay serves no physical replication");
    co_return;
}

asio::awaitable<void> Session::run(protocol::StartLogicalReplication command) {
    const auto slot = relay_.slots.find(command.slot);
    if (slot && !slot->is_logical())
        throw ServerError("cannot use physical replication slot for logical decoding", "55000");
    if (slot && !is_in_database(*slot))
        throw ServerError(
            fmt::format("replication slot \"{}\" was not created in this database", command.slot), "55000");
    const PgoutputOptions options = read_pgoutput_options(command.options);
    Feed& feed = feed_for(options.publications);
    if (!client_.client_encoding.empty() && !is_utf8(client_.client_encoding))
        refuse(fmt::format("the relay's feeds are in UTF8, and are not converted to {}",
                           client_.client_encoding));

    const auto own = std::find_if(temporary_slots_.begin(), temporary_slots_.end(),
                                  [&](const SlotLease& lease) { return lease.slot() == command.slot; });
    SlotLease acquired;
    if (own == temporary_slots_.end()) acquired = relay_.slots.acquire(command.slot, pid());
    const SlotLease& lease = own == temporary_slots_.end() ? acquired : *own;
    const Lsn confirmed = relay_.slots.find(command.slot).value_or(Slot{}).position;

    // The snapshot that a table was copied by is not needed any more, nor the slot that holds it.
    upstream_.reset();
    co_await stream(feed, std::max(command.start, confirmed), options.only_local, lease);
    protocol::append_command_complete(wire_.out(), "COPY 0");
    protocol::append_command_complete(wire_.out(), "START_REPLICATION");
}

asio::awaitable<void> Session::stream(const Feed& feed, Lsn start, bool only_local, const SlotLease& lease) {
    FeedSource source{feed, start, only_local, [&](const protocol::StandbyStatusUpdate& status) {
                          if (status.flushed && !lease.advance(status.flushed))
                              throw ServerError(
                                  fmt::format("replication slot \"{}\" was invalidated", lease.slot()),
                                  "55000");
                          relay_.sessions.update(identity_.pid, [&](SessionInfo& info) {
                              info.written = status.written;
                              info.flushed = status.flushed;
                              info.applied = status.applied;
                              info.heard = now();
                          });
                      }};
    ReplicationStream stream{wire_, source, bell_of(feed), relay_.config.wal_sender_timeout};
    relay_.sessions.update(identity_.pid, [&](SessionInfo& info) {
        info.slot = lease.slot();
        info.feed = feed.name();
    });
    std::optional<protocol::Report> last_words;
    stream_ = &stream;
    try {
        co_await stream.run();
    } catch (const Error& problem) {
        last_words = report_of(problem, "FATAL");
    }
    stream_ = nullptr;
    if (last_words) throw SessionEnd{*last_words};
}

Bell& Session::bell_of(const Feed& feed) const {
    const auto found = std::find_if(relay_.feeds.begin(), relay_.feeds.end(),
                                    [&](const auto& other) { return other.get() == &feed; });
    return *bells_[static_cast<std::size_t>(found - relay_.feeds.begin())];
}

asio::awaitable<void> Session::run(protocol::BaseBackup) {
    refuse("this relay serves no physical replication");
    co_return;
}

asio::awaitable<void> Session::run(protocol::UploadManifest) {
    refuse("this relay serves no physical replication");
    co_return;
}

asio::awaitable<void> Session::run(protocol::Sql command) {
    if (!is_search_path_reset(command.text) || upstream_) {
        co_await pass_through(command.text);
        co_return;
    }
    is_search_path_reset_ = true;  // upstream() sees to it
    append_search_path_reset(wire_.out());
}

// -- What only the upstream knows --

asio::awaitable<PassThrough*> Session::upstream() {
    if (client_.replication == Client::Replication::kNone)
        throw ServerError(
            "a relay is no database: it has replication commands, and SHOW pgcascade.slots, "
            "pgcascade.sessions and pgcascade.feeds",
            "0A000", "connect with replication=database to run SQL on the upstream");
    if (!client_.rights.pass_through)
        throw ServerError(
            fmt::format("permission denied: user \"{}\" may not run SQL on the upstream", client_.user),
            "42501", "set pass_through = true for this user in the relay's users file");
    if (!upstream_) {
        const std::string secure = "SELECT pg_catalog.set_config('search_path', '', false)";
        // A session such as the client asked for here: a copy is written as the subscriber reads it.
        postgres::Conninfo conninfo = home_feed().config().upstream.conninfo;
        if (!client_.options.empty()) conninfo = conninfo.with("options", client_.options);
        auto opened = co_await PassThrough::open(relay_.blocking, conninfo, postgres::Replication::kDatabase);
        upstream_ = std::move(opened);
        if (is_search_path_reset_) co_await upstream_->command(secure);
    }
    co_return upstream_.get();
}

asio::awaitable<void> Session::pass_through(const std::string& sql) {
    PassThrough* const server = co_await upstream();
    try {
        co_await server->run(sql, wire_);
    } catch (const ConnectionError& problem) {
        throw SessionEnd{report_of(problem, "FATAL")};  // part of an answer may be sent already
    }
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
