#pragma once

#include <memory>
#include <string>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/thread_pool.hpp>

#include "postgres/connection.hpp"
#include "protocol/backend_message.hpp"
#include "relay/wire.hpp"

namespace pgcascade::relay {

// A connection to the upstream that belongs to one session: what the relay can't answer goes there, and the
// answer to the client, as it comes. So a transaction, and a snapshot, of the client are one there. On the
// session's loop.
class PassThrough {
  public:
    // Logs in, on one of the threads that may block. Throws ConnectionError, LoginError.
    static asio::awaitable<std::unique_ptr<PassThrough>> open(asio::thread_pool& blocking,
                                                              const postgres::Conninfo& conninfo,
                                                              postgres::Replication replication);
    ~PassThrough();
    PassThrough(const PassThrough&) = delete;
    PassThrough& operator=(const PassThrough&) = delete;

    // Runs a statement or a command and sends all that the upstream answers, errors too, but ReadyForQuery.
    // Where it copies from the client, reads what that sends, to its CopyDone. Throws ConnectionError where
    // the upstream is gone, ProtocolError where the client sends what has no place in a copy: either ends the
    // session.
    asio::awaitable<void> run(const std::string& sql, Wire& client);

    // Runs a command of the relay's own. Throws ServerError where it fails.
    asio::awaitable<postgres::Result> command(const std::string& sql);

    // As an error of the server's own within a transaction block.
    asio::awaitable<void> fail_transaction();

    protocol::TransactionStatus transaction_status() const;

    // It is the client's turn, in a copy from it: the upstream says nothing before.
    bool waits_for_client() const { return waits_for_client_; }

    // Asks the upstream to end what runs; on one of the threads that may block.
    void cancel(asio::thread_pool& blocking) const;

  private:
    PassThrough(std::unique_ptr<postgres::Connection> connection, const asio::any_io_executor& loop);

    static void take_notice(void* self, const PGresult* notice);
    asio::awaitable<void> send_query(const std::string& sql);
    asio::awaitable<void> flush();
    asio::awaitable<postgres::Result> next_result(Wire* client);
    asio::awaitable<void> hand_on(Wire& client);
    asio::awaitable<void> wait_for_input();
    asio::awaitable<void> send_copy(const PGresult* start, Wire& client);
    asio::awaitable<void> take_copy(const PGresult* start, Wire& client);
    asio::awaitable<bool> take_copied(const protocol::FrontendMessage& message);

    std::unique_ptr<postgres::Connection> connection_;
    asio::posix::stream_descriptor socket_;
    std::string notices_;  // as messages for the client
    bool waits_for_client_ = false;
};

}  // namespace pgcascade::relay
