#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string_view>

#include <pgcascade/error.hpp>

#include "base/clock.hpp"
#include "postgres/backoff.hpp"
#include "postgres/pacing.hpp"
#include "postgres/replication_connection.hpp"
#include "relay/incoming_log.hpp"
#include "relay/waker.hpp"

namespace pgcascade::relay {

// Brings what an upstream sends into a log, in a thread of its own, and tells the upstream what is on disk.
// Reconnects for ever, whatever the reason: it says each new one.
class Receiver {
  public:
    // `timeout`: how long an upstream may say nothing; 0: for ever. `stop_fd`: readable once run() is to end.
    Receiver(IncomingLog& log, std::chrono::milliseconds timeout, int stop_fd);
    virtual ~Receiver() = default;
    Receiver(const Receiver&) = delete;
    Receiver& operator=(const Receiver&) = delete;

    // Until the stop, which the upstream is told in good order. Throws only what must end the process:
    // SystemError of the log, LogCorrupt.
    void run();

    // More of the log is on disk: the upstream is to be told. Any thread.
    void on_durable() const { durable_.wake(); }

  protected:
    // A connection on which the stream runs. What it throws is told to the operator, and it is tried again.
    virtual std::unique_ptr<postgres::ReplicationConnection> open() = 0;

    // Takes one message of the stream; true where publish() has something to tell.
    virtual bool take(std::string_view bytes) = 0;

    // Writes what was gathered to the log. Throws SystemError where the disk is full; it is tried again then.
    virtual std::uint64_t gathered_bytes() const = 0;
    virtual void write() = 0;

    // What was written, or heard, is there for everybody.
    virtual void publish() = 0;

    // The upstream has sent all of a timeline.
    virtual void end_timeline(postgres::ReplicationConnection&) {}

    // The connection broke: what was whole is there for everybody, what was under way will come again.
    virtual void abandon_session() {}

    // What to tell the upstream. The position says what was written and what is on disk.
    virtual protocol::StandbyStatusUpdate position() = 0;
    virtual void tell_more(postgres::ReplicationConnection&) {}

    // What can't be tried again once it has failed half done, a full disk included: then the process ends,
    // and the next start finishes it.
    static void must_succeed(const std::function<void()>& change);

    void request_reply() { reply_requested_ = true; }  // the upstream wants to be told the position now
    void inform(const std::string& text, diagnostics::Fields more = {}) const;
    void warn(const std::string& text, const std::string& hint = {}, diagnostics::Fields more = {}) const;
    int stop_fd() const { return stop_fd_; }

  private:
    // Longer than a single reader would wait: each look wakes the sessions, too.
    static constexpr std::chrono::milliseconds kGatherInterval{1};

    void receive();
    void take_arrived();
    void break_off(const Error& problem);
    void write_and_publish();
    void wait_for_room_to(const std::function<void()>& write);
    void wait_for_room(const SystemError& problem);
    void send_position();
    void wait();
    SteadyTime next_look() const;
    void check_is_alive();
    void poll(int socket, SteadyTime::duration patience);
    void pause(const Error& problem);
    void tell(const Error& problem, const char* what_now);

    IncomingLog& log_;
    const std::chrono::milliseconds timeout_;
    const int stop_fd_;
    Waker durable_;
    postgres::Backoff backoff_;
    postgres::Pacing pacing_{kGatherInterval};

    std::unique_ptr<postgres::ReplicationConnection> connection_;
    SteadyTime position_due_;
    SteadyTime heard_;        // of the upstream
    bool is_pinged_ = false;  // and has not answered yet
    bool reply_requested_ = false;
    bool is_more_durable_ = false;
};

}  // namespace pgcascade::relay
