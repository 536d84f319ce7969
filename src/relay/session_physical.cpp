// The commands of a session that are of physical replication only. The words of the errors are a walsender's
// (replication/walsender.c, slot.c).

#include <algorithm>

#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fmt/format.h>

#include <pgcascade/error.hpp>

#include "base/clock.hpp"
#include "relay/answers.hpp"
#include "relay/blocking.hpp"
#include "relay/session.hpp"

namespace pgcascade::relay {

namespace {

// A backup that came through this relay begins where the upstream was a moment ago.
constexpr std::chrono::seconds kPatienceWithUpstream{5};
constexpr std::chrono::milliseconds kLookAgain{20};

void check_is_reached(const Wal& relayed) {
    if (relayed.log() == nullptr || relayed.log()->readable().timeline.value == 0)
        throw ServerError("the relay has not reached its upstream yet", "57P03", relayed.problem());
}

}  // namespace

// -- Whose WAL it is --

// For whoever only asks how the relay is, too.
const Wal& Session::known_wal() const {
    return client_.replication == Client::Replication::kNone ? *relay_.wal : permitted_wal();
}

Wal& Session::permitted_wal() const {
    if (!relay_.wal)
        throw ServerError("this relay relays no WAL", "0A000",
                          "its relay.toml has no [wal]; replicate from a server or from another relay");
    if (!client_.rights.physical)
        throw ServerError(fmt::format("permission denied: user \"{}\" may not have the WAL", client_.user),
                          "42501", "set physical = true for this user in the relay's users file");
    return *relay_.wal;
}

Wal& Session::wal() const {
    Wal& relayed = permitted_wal();
    check_is_reached(relayed);
    return relayed;
}

Lsn Session::own_position() const {
    if (is_of_wal()) {
        const Wal& relayed = known_wal();
        check_is_reached(relayed);
        return relayed.log()->readable().lsn;
    }
    return home_feed().mark().upto;
}

asio::awaitable<void> Session::run(protocol::TimelineHistory command) {
    const auto content =
        is_of_wal() ? wal().log()->history(command.timeline) : home_feed().history(command.timeline);
    if (!content)
        throw ServerError(
            fmt::format("could not open file \"pg_wal/{:08X}.history\": No such file or directory",
                        command.timeline.value),
            "58P01");
    append_timeline_history(wire_.out(), command.timeline, *content);
    co_return;
}

// -- Slots --

// With WAL reserved it holds as much as is kept in any case: a backup that is made next may begin before the
// present, on a standby at its last restartpoint. It does not hold all that there is: a log near its limit
// would give up the new slot at once.
asio::awaitable<void> Session::create_physical_slot(const protocol::CreateReplicationSlot& command) {
    const Wal& relayed = wal();
    const bool reserves = read_options(command).reserve_wal;
    SlotLease lease;
    const std::function<void()> create = [&] {
        const NewSlot wanted{
            .name = command.slot, .owner = client_.user, .position = reserves ? relayed.kept_from() : Lsn{}};
        if (command.temporary) {
            lease = relay_.slots.create_temporary(wanted, pid());
        } else {
            relay_.slots.create(wanted);
            lease = relay_.slots.acquire(wanted.name, pid());
        }
        // What was removed before the log keeper could see the slot.
        if (reserves) lease.advance(relayed.log()->begin().lsn);
    };
    co_await change_slots(create);
    Slot made = relay_.slots.find(command.slot).value_or(Slot{});
    if (command.temporary) temporary_slots_.push_back(std::move(lease));
    made.position = {};  // a physical slot is consistent anywhere, and says 0/0
    append_created_slot(wire_.out(), made, std::nullopt);
}

// -- Streaming --

asio::awaitable<void> Session::run(protocol::StartPhysicalReplication command) {
    Wal& served = wal();
    SlotLease acquired;
    const SlotLease* lease = nullptr;
    if (command.slot) {
        const auto slot = permitted_slot(*command.slot);
        if (slot && slot->is_logical())
            throw ServerError("cannot use a logical replication slot for physical replication", "55000");
        lease = own_temporary_slot(*command.slot);
        if (lease == nullptr) acquired = relay_.slots.acquire(*command.slot, pid());
        if (lease == nullptr) lease = &acquired;
    }
    const log::WalPosition start{command.timeline.value_or(served.log()->readable().timeline), command.start};
    co_await wait_until_readable(start);

    WalSource source{served, start, handlers_of(lease)};
    if (!source.has_ended()) co_await stream_wal(source, lease);
    if (const auto& next = source.next_timeline(); next && source.has_ended())
        append_next_timeline(wire_.out(), next->timeline, next->switch_point);
    else
        protocol::append_command_complete(wire_.out(), "START_STREAMING");
    protocol::append_command_complete(wire_.out(), "START_REPLICATION");
}

asio::awaitable<void> Session::wait_until_readable(log::WalPosition start) {
    const log::WalLog& log = *wal().log();
    asio::steady_timer timer{wire_.executor()};
    for (const SteadyTime deadline = steady_now() + kPatienceWithUpstream;
         start > log.readable() && steady_now() < deadline;) {
        timer.expires_after(kLookAgain);
        co_await timer.async_wait(asio::use_awaitable);
        check_interrupts();
    }
}

WalSource::Handlers Session::handlers_of(const SlotLease* lease) {
    const auto on_status = [this, lease](const protocol::StandbyStatusUpdate& status) {
        if (lease != nullptr && status.flushed && !lease->advance(status.flushed)) throw_lost(*lease);
        note_status(status);
    };
    const auto on_feedback = [this, lease](const protocol::HotStandbyFeedback& feedback) {
        if (lease != nullptr)
            lease->set_horizon(StandbyHorizon::of(feedback));
        else
            relay_.wal->set_horizon(identity_.pid, StandbyHorizon::of(feedback));
    };
    return {on_status, on_feedback};
}

asio::awaitable<void> Session::stream_wal(WalSource& source, const SlotLease* lease) {
    relay_.sessions.update(identity_.pid, [](SessionInfo& info) { info.streams_wal = true; });
    const std::string slot = lease == nullptr ? std::string{} : lease->slot();
    co_await run_stream(source, wal(), slot);
    relay_.sessions.update(identity_.pid, [](SessionInfo& info) { info.streams_wal = false; });
}

// -- Base backups --

asio::awaitable<void> Session::run(protocol::BaseBackup command) {
    const std::string text = to_string(protocol::ReplicationCommand{command});
    co_await pass_backup_through(text);
}

// The upstream keeps it for the backup that follows on the same connection.
asio::awaitable<void> Session::run(protocol::UploadManifest command) {
    const std::string text = to_string(protocol::ReplicationCommand{command});
    co_await pass_backup_through(text);
}

asio::awaitable<void> Session::pass_backup_through(const std::string& command) {
    if (client_.replication != Client::Replication::kPhysical)
        throw ServerError("a relay passes base backups through on connections for physical replication only",
                          "0A000", "connect with replication=true");
    static_cast<void>(wal());
    co_await pass_through(command);
}

}  // namespace pgcascade::relay
