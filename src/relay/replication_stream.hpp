#pragma once

#include <atomic>
#include <chrono>
#include <exception>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/steady_timer.hpp>

#include <pgcascade/lsn.hpp>

#include "base/clock.hpp"
#include "protocol/replication_message.hpp"
#include "relay/bell.hpp"
#include "relay/wire.hpp"

namespace pgcascade::relay {

// Where the bytes of a stream come from. On the loop of its session.
class StreamSource {
  public:
    virtual ~StreamSource() = default;

    // Sends some of what is there, whole messages; returns their bytes, 0 where nothing is.
    virtual asio::awaitable<std::uint64_t> send_some(Wire& wire) = 0;

    // Nothing will ever follow: the stream is to end, though the client has not ended it.
    virtual bool has_ended() const { return false; }

    // What a keepalive may say: all up to here was sent whole.
    virtual Lsn given() const = 0;

    // Whether a client is to be told of it by a keepalive where nothing that is sent does.
    virtual bool tells_given() const { return false; }

    virtual void on_status(const protocol::StandbyStatusUpdate& status) = 0;
    virtual void on_feedback(const protocol::HotStandbyFeedback& feedback) = 0;
};

// One START_REPLICATION, from CopyBothResponse to CopyDone: what a walsender does beside sending WAL. Source:
// PostgreSQL manual, "Streaming Replication Protocol"; replication/walsender.c.
class ReplicationStream {
  public:
    // `bell` rings when the source may have more. `timeout`: how long a client may say nothing; 0: for ever.
    // `sent` follows source.given(), for operators.
    ReplicationStream(Wire& wire, StreamSource& source, Bell& bell, std::chrono::milliseconds timeout,
                      std::atomic<Lsn>& sent);

    enum class End {
        kDone,     // both have said CopyDone
        kStopped,  // the client has confirmed all that there was, and has not ended the stream
    };

    // Until the client, the source, or stop() ends the stream in good order. Throws ServerError (57014 after
    // cancel()), ConnectionError, ProtocolError, boost::system::system_error.
    asio::awaitable<End> run();

    // Sends what is there, waits until the client has confirmed it as flushed (or, of a client that never
    // says so, as written), and then ends. On the loop. Source: walsender.c, WalSndDone.
    void stop();

    // The client wants no more of it. On the loop.
    void cancel();

  private:
    static constexpr std::chrono::milliseconds kShortestTellInterval{50};

    asio::awaitable<void> guarded(asio::awaitable<void> part);
    asio::awaitable<void> receive();
    asio::awaitable<void> send();
    asio::awaitable<void> watch();
    asio::awaitable<void> sleep();
    asio::awaitable<void> let_gather(std::uint64_t burst);
    void take(std::string_view message);
    bool client_has_all() const { return confirmed_ >= source_.given(); }
    void append_keepalive_where_due();
    void append_position_where_due();
    void append_keepalive(bool reply_requested);
    void tell_sent();

    Wire& wire_;
    StreamSource& source_;
    Bell& bell_;
    const std::chrono::milliseconds timeout_;
    std::atomic<Lsn>& sent_;

    asio::steady_timer wake_;
    std::uint64_t sent_at_once_ = 0;  // since there was nothing to be sent
    bool client_is_done_ = false;
    bool is_stopping_ = false;
    bool is_cancelled_ = false;
    SteadyTime ask_due_;   // for what is still to be confirmed, once it is stopping
    Lsn confirmed_;        // by the client
    Lsn known_;            // the client has got all up to here, it says
    Lsn told_;             // by the last keepalive
    SteadyTime tell_due_;  // when the next one may go out only for that
    std::chrono::milliseconds tell_interval_ =
        kShortestTellInterval;       // longer, the longer nothing else comes
    bool is_untold_ = false;         // something is to be told then
    bool keepalive_wanted_ = false;  // by the client
    bool is_pinged_ = false;         // and has not answered yet
    SteadyTime heard_;               // of the client
    SteadyTime sent_due_;            // when sent_ may be told again
    bool is_sent_told_ = false;
    bool is_over_ = false;
    std::exception_ptr failure_;
};

}  // namespace pgcascade::relay
