// The commands of a session: what each one does, and answers.

#include <algorithm>
#include <cctype>
#include <exception>

#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fmt/format.h>

#include <pgcascade/error.hpp>

#include "base/clock.hpp"
#include "base/file.hpp"
#include "relay/answers.hpp"
#include "relay/blocking.hpp"
#include "relay/relay_tables.hpp"
#include "relay/session.hpp"

namespace pgcascade::relay {

namespace {

constexpr std::chrono::milliseconds kLookAgain{100};
constexpr const char* kObjectInUse = "55006";

[[noreturn]] void refuse(const std::string& what) {
    throw ServerError(what, "0A000");
}

// As a server of 15 to 18 shows it.
std::string segment_size_text(std::uint64_t bytes) {
    const std::uint64_t megabytes = bytes >> 20;
    return megabytes >= 1024 ? fmt::format("{}GB", megabytes / 1024) : fmt::format("{}MB", megabytes);
}

// A setting's name is known in any case.
bool is_same_setting(std::string_view one, std::string_view other) {
    return std::equal(one.begin(), one.end(), other.begin(), other.end(), [](char left, char right) {
        return std::tolower(static_cast<unsigned char>(left)) ==
               std::tolower(static_cast<unsigned char>(right));
    });
}

}  // namespace

asio::awaitable<void> Session::run(protocol::IdentifySystem) {
    const bool has_database = client_.replication != Client::Replication::kPhysical;
    append_identify_system(wire_.out(), facts(), own_position(), has_database ? client_.database : "");
    co_return;
}

asio::awaitable<void> Session::run(protocol::Show command) {
    if (append_relay_table(wire_.out(), command.setting, relay_)) co_return;
    const UpstreamFacts known = facts();
    const std::string text = to_string(protocol::ReplicationCommand{command});
    const auto found = std::find_if(known.parameters.begin(), known.parameters.end(), [&](const auto& one) {
        return is_same_setting(one.first, command.setting);
    });
    if (found != known.parameters.end())
        append_show(wire_.out(), found->first, found->second);
    else if (command.setting == "data_directory_mode")
        append_show(wire_.out(), command.setting, "0700");
    else if (command.setting == "wal_segment_size" && known.segment_bytes != 0)
        append_show(wire_.out(), command.setting, segment_size_text(known.segment_bytes));
    else
        co_await pass_through(text);
}

asio::awaitable<void> Session::run(protocol::ReadReplicationSlot command) {
    const auto slot = permitted_slot(command.slot);
    if (slot && slot->is_logical())
        throw ServerError("cannot use READ_REPLICATION_SLOT with a logical replication slot", "0A000");
    const bool has_wal = slot && slot->position && relay_.wal && relay_.wal->log() != nullptr;
    append_read_slot(wire_.out(), slot,
                     has_wal ? relay_.wal->ancestry().timeline_at(slot->position) : facts().timeline);
    co_return;
}

asio::awaitable<void> Session::run(protocol::CreateReplicationSlot command) {
    check_slot_name(command.slot);
    if (relay_.slots.find(command.slot))
        throw ServerError(fmt::format("replication slot \"{}\" already exists", command.slot), "42710");
    if (command.plugin.empty())
        co_await create_physical_slot(command);
    else
        co_await create_logical_slot(command);
}

asio::awaitable<void> Session::wait_until_free(const std::string& slot) {
    asio::steady_timer timer{wire_.executor()};
    while (!relay_.slots.is_free(slot, pid())) {
        timer.expires_after(kLookAgain);
        co_await timer.async_wait(asio::use_awaitable);
        check_interrupts();  // before it is taken for free: what stops this session lets go of the slot, too
    }
}

// Once nobody else has the slot.
asio::awaitable<void> Session::run_alone(const std::string& slot, const std::function<void()>& work) {
    for (;;) {
        co_await wait_until_free(slot);
        try {
            co_await change_slots(work);
            co_return;
        } catch (const ServerError& refusal) {  // somebody was quicker
            if (refusal.sqlstate() != kObjectInUse) throw;
        }
    }
}

// What goes to disk. Where that fails for another reason than want of room, the relay must end: what the disk
// holds is unknown from then on.
asio::awaitable<void> Session::change_slots(const std::function<void()>& work) {
    try {
        co_await run_blocking(relay_.for_disk, work);
    } catch (const SystemError& problem) {
        if (!is_out_of_room(problem)) relay_.fail(std::current_exception());
        throw;
    }
}

asio::awaitable<void> Session::run(protocol::DropReplicationSlot command) {
    static_cast<void>(permitted_slot(command.slot));
    const auto is_it = [&](const SlotLease& lease) { return lease.slot() == command.slot; };
    const std::function<void()> drop = [&] { relay_.slots.drop(command.slot, pid()); };
    if (own_temporary_slot(command.slot) != nullptr)
        std::erase_if(temporary_slots_, is_it);
    else if (command.wait)
        co_await run_alone(command.slot, drop);
    else
        co_await change_slots(drop);
    protocol::append_command_complete(wire_.out(), "DROP_REPLICATION_SLOT");
}

asio::awaitable<void> Session::run(protocol::AlterReplicationSlot command) {
    const SlotChange change = read_options(command);
    if (change.two_phase.value_or(false)) refuse("two-phase commit is not supported by this relay");
    static_cast<void>(permitted_slot(command.slot));
    const std::function<void()> alter = [&] { relay_.slots.alter(command.slot, pid(), change); };
    co_await run_alone(command.slot, alter);
    protocol::append_command_complete(wire_.out(), "ALTER_REPLICATION_SLOT");
}

// -- Streaming --

const SlotLease* Session::own_temporary_slot(const std::string& name) const {
    for (const SlotLease& lease : temporary_slots_)
        if (lease.slot() == name) return &lease;
    return nullptr;
}

asio::awaitable<void> Session::run_stream(StreamSource& source, const IncomingLog& log,
                                          const std::string& slot) {
    const auto sent = std::make_shared<std::atomic<Lsn>>(source.given());
    ReplicationStream stream{wire_, source, *bells_.at(&log), relay_.config.wal_sender_timeout, *sent};
    relay_.sessions.update(identity_.pid, [&](SessionInfo& info) {
        info.sent = sent;
        info.slot = slot;
    });
    slot_ = slot;
    wire_.count_sent_in(&log.traffic.sent_bytes);
    if (is_stopping_) stream.stop();  // since before there was a stream to be told
    if (is_cancelled_) stream.cancel();
    stream_ = &stream;
    std::exception_ptr failure;
    auto end = ReplicationStream::End::kDone;
    try {
        end = co_await stream.run();
    } catch (...) {
        failure = std::current_exception();
    }
    stream_ = nullptr;
    wire_.count_sent_in(nullptr);
    relay_.sessions.update(identity_.pid, [](SessionInfo& info) {
        info.slot = info.feed = {};
        info.sent = nullptr;
        info.written = info.flushed = info.applied = {};
    });
    if (failure) fail_stream(failure);
    if (end != ReplicationStream::End::kStopped) co_return;
    protocol::append_command_complete(wire_.out(), "COPY 0");
    co_await wire_.flush();
    throw SessionEnd{};
}

// An error ends the stream and leaves the connection, as with a walsender; but not where part of a message is
// out, nor where the client has broken the protocol, or says nothing any more.
void Session::fail_stream(const std::exception_ptr& failure) const {
    try {
        std::rethrow_exception(failure);
    } catch (const ServerError&) {
        if (wire_.is_whole()) throw;
        throw boost::system::system_error{asio::error::connection_aborted};
    } catch (const Error& problem) {
        throw SessionEnd{report_of(problem, "FATAL")};
    }
}

void Session::note_status(const protocol::StandbyStatusUpdate& status) const {
    relay_.sessions.update(identity_.pid, [&](SessionInfo& info) {
        info.written = status.written;
        info.flushed = status.flushed;
        info.applied = status.applied;
        info.heard = now();
    });
}

void Session::throw_lost(const SlotLease& lease) const {
    const auto slot = relay_.slots.find(lease.slot());
    if (slot && !slot->is_invalidated())
        throw ServerError(
            fmt::format("replication slot \"{}\" was set back: the upstream was failed over", lease.slot()),
            "08006", "connect again");
    throw ServerError(fmt::format("replication slot \"{}\" was invalidated", lease.slot()), "55000");
}

// -- SQL --

asio::awaitable<void> Session::run(protocol::Sql command) {
    if (client_.replication == Client::Replication::kPhysical)
        refuse("cannot execute SQL commands in WAL sender for physical replication");
    if (upstream_) co_return co_await pass_through(command.text);
    if (is_search_path_reset(command.text)) {
        is_search_path_reset_ = true;  // upstream() sees to it
        co_return append_search_path_reset(wire_.out());
    }
    if (const auto slot = slot_of_synchronization(command.text); slot && relay_.wal) {
        const auto found = relay_.slots.find(*slot);
        co_return append_slot_synchronization(wire_.out(), found && !found->is_logical());
    }
    co_await pass_through(command.text);
}

// -- What only the upstream knows --

asio::awaitable<PassThrough*> Session::upstream() {
    if (client_.replication == Client::Replication::kNone)
        throw ServerError(
            "a relay is no database: it has replication commands, and SHOW pgcascade.slots, "
            "pgcascade.sessions, pgcascade.feeds and pgcascade.wal",
            "0A000", "connect with replication=database to run SQL on the upstream");
    if (!client_.rights.pass_through)
        throw ServerError(
            fmt::format("permission denied: user \"{}\" may not run SQL on the upstream", client_.user),
            "42501", "set pass_through = true for this user in the relay's users file");
    check_encoding();
    if (!upstream_ && client_.replication == Client::Replication::kPhysical) {
        auto opened = co_await PassThrough::open(relay_.for_upstream, wal().config().upstream.conninfo,
                                                 postgres::Replication::kPhysical);
        upstream_ = std::move(opened);
    }
    if (!upstream_) {
        const std::string secure = "SELECT pg_catalog.set_config('search_path', '', false)";
        // A session such as the client asked for here: a copy is written as the subscriber reads it.
        postgres::Conninfo conninfo = home_feed().config().upstream.conninfo;
        if (!client_.options.empty()) conninfo = conninfo.with("options", client_.options);
        auto opened =
            co_await PassThrough::open(relay_.for_upstream, conninfo, postgres::Replication::kDatabase);
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
    } catch (const ProtocolError& problem) {
        throw SessionEnd{report_of(problem, "FATAL")};  // the upstream waits for the rest of a copy
    } catch (const boost::system::system_error&) {
        check_interrupts();  // stop() breaks the wait for the client off; else the client is gone
        throw;
    }
}

}  // namespace pgcascade::relay
