#pragma once

#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <boost/asio/awaitable.hpp>

#include "base/diagnostics.hpp"
#include "protocol/backend_message.hpp"
#include "protocol/replication_command.hpp"
#include "relay/answers.hpp"
#include "relay/feed_filter.hpp"
#include "relay/login.hpp"
#include "relay/pass_through.hpp"
#include "relay/relay_state.hpp"
#include "relay/replication_stream.hpp"
#include "relay/slot_store.hpp"
#include "relay/wal_source.hpp"
#include "relay/wire.hpp"

namespace pgcascade::relay {

// The bells of one event loop, one for each log of the relay.
using Bells = std::map<const IncomingLog*, std::unique_ptr<Bell>>;

// Ends a session in the middle of an answer or a stream, from where there is no way back to commands.
struct SessionEnd {
    std::optional<protocol::Report> last_words;  // nothing: all is said
};

// One client, from its first byte to its last. On one event loop.
class Session : public std::enable_shared_from_this<Session> {
  public:
    // `admission` is given back once the client has logged in.
    Session(Wire wire, RelayState& relay, Bells& bells, std::shared_ptr<void> admission);
    ~Session();

    // Never throws: what ends a session early is told to the client, where it can be, and to the operator.
    asio::awaitable<void> run();

  private:
    asio::awaitable<void> log_in();
    asio::awaitable<void> try_to_log_in(std::exception_ptr& failure);
    void greet();
    void enlist();
    asio::awaitable<void> serve();
    asio::awaitable<protocol::FrontendMessage> next_message();
    asio::awaitable<void> run_query(const std::string& text);
    void stop();
    void cancel();
    diagnostics::Fields about(const protocol::Report& last_words = {}) const;
    void check_interrupts() const;

    // Replication commands, each to the end of its answer.
    asio::awaitable<void> run(protocol::IdentifySystem command);
    asio::awaitable<void> run(protocol::Show command);
    asio::awaitable<void> run(protocol::TimelineHistory command);
    asio::awaitable<void> run(protocol::ReadReplicationSlot command);
    asio::awaitable<void> run(protocol::CreateReplicationSlot command);
    asio::awaitable<void> run(protocol::DropReplicationSlot command);
    asio::awaitable<void> run(protocol::AlterReplicationSlot command);
    asio::awaitable<void> run(protocol::StartPhysicalReplication command);
    asio::awaitable<void> run(protocol::StartLogicalReplication command);
    asio::awaitable<void> run(protocol::BaseBackup command);
    asio::awaitable<void> run(protocol::UploadManifest command);
    asio::awaitable<void> run(protocol::Sql command);

    asio::awaitable<void> create_logical_slot(const protocol::CreateReplicationSlot& command);
    asio::awaitable<void> create_physical_slot(const protocol::CreateReplicationSlot& command);
    asio::awaitable<std::optional<std::string>> make_snapshot(CreateSlotOptions::Snapshot action,
                                                              NewSlot& wanted);
    asio::awaitable<void> end_export();
    asio::awaitable<void> wait_until_free(const std::string& slot);
    asio::awaitable<void> change_slots(const std::function<void()>& work);
    asio::awaitable<void> run_alone(const std::string& slot, const std::function<void()>& work);
    asio::awaitable<PassThrough*> upstream();
    asio::awaitable<Lsn> upstream_position();
    asio::awaitable<void> pass_through(const std::string& sql);
    asio::awaitable<void> pass_backup_through(const std::string& command);

    asio::awaitable<void> give_up(const SlotLease& lease, const Feed& feed, Lsn requested);
    asio::awaitable<void> stream_feed(const Feed& feed, Lsn start, const FeedSelection& selection,
                                      const SlotLease& lease);
    asio::awaitable<void> stream_wal(WalSource& source, const SlotLease* lease);
    WalSource::Handlers handlers_of(const SlotLease* lease);
    asio::awaitable<void> run_stream(StreamSource& source, const IncomingLog& log, const std::string& slot);
    asio::awaitable<void> wait_until_readable(log::WalPosition start);
    [[noreturn]] void fail_stream(const std::exception_ptr& failure) const;
    void note_status(const protocol::StandbyStatusUpdate& status) const;
    [[noreturn]] void throw_lost(const SlotLease& lease) const;

    const Wal& known_wal() const;
    Wal& permitted_wal() const;
    Wal& wal() const;
    Feed* find_home_feed() const;
    Feed& home_feed() const;
    Feed& feed_for(const std::vector<std::string>& publications) const;
    bool may_use(const Slot& slot) const;
    std::optional<Slot> permitted_slot(const std::string& name) const;
    const SlotLease* own_temporary_slot(const std::string& name) const;
    void check_logical() const;
    void check_encoding() const;
    void check_transaction(const protocol::ReplicationCommand& command) const;
    std::string own_upstream_slot();
    UpstreamFacts facts() const;
    std::optional<UpstreamFacts> known_facts() const;
    bool is_of_wal() const;
    Lsn own_position() const;
    int pid() const { return static_cast<int>(identity_.pid); }
    protocol::TransactionStatus transaction_status() const;

    Wire wire_;
    RelayState& relay_;
    Bells& bells_;
    std::shared_ptr<void> admission_;
    Client client_;
    SessionList::Identity identity_;
    std::unique_ptr<PassThrough> upstream_;
    std::vector<SlotLease> temporary_slots_;
    std::string slot_;                     // through which it streamed last
    int upstream_slots_ = 0;               // that were made for this session
    std::string exporting_slot_;           // of the upstream; the snapshot lives until the next command
    ReplicationStream* stream_ = nullptr;  // while one runs
    bool is_running_query_ = false;
    bool is_search_path_reset_ = false;  // by the client, for upstream_ too once that is there
    bool is_stopping_ = false;
    bool is_cancelled_ = false;  // the query that runs
};

}  // namespace pgcascade::relay
