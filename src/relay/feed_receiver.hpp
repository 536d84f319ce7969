#pragma once

#include <memory>

#include <pgcascade/lsn.hpp>

#include "base/clock.hpp"
#include "postgres/backoff.hpp"
#include "postgres/logical_session.hpp"
#include "postgres/pacing.hpp"
#include "relay/feed.hpp"
#include "relay/waker.hpp"

namespace pgcascade::relay {

// Brings what the upstream of a feed sends into its log, in a thread of its own, and tells the upstream what
// is on disk. Reconnects for ever, whatever the reason: it says each new one.
class FeedReceiver {
  public:
    // `stop_fd`: readable once run() is to end.
    FeedReceiver(Feed& feed, int stop_fd);

    // Until the stop, which the upstream is told in good order. Throws only what must end the process:
    // SystemError of the log, LogCorrupt.
    void run();

    // More of the log is on disk: the upstream is to be told. Any thread.
    void on_durable() const { durable_.wake(); }

  private:
    // Longer than a single reader would wait: each look wakes the sessions, too.
    static constexpr std::chrono::milliseconds kGatherInterval{1};

    void receive();
    void open();
    void take_arrived();
    bool take(std::string_view bytes);
    void publish();
    void flush();
    void send_feedback();
    void wait();
    void poll(int socket, SteadyTime::duration patience);
    void pause(const Error& problem);
    void tell(const Error& problem, const char* what_now);

    Feed& feed_;
    const int stop_fd_;
    Waker durable_;
    postgres::Backoff backoff_;
    postgres::Pacing pacing_{kGatherInterval};

    std::unique_ptr<postgres::ReplicationConnection> connection_;
    Lsn received_;
    Lsn reported_;  // as flushed
    SteadyTime feedback_due_;
    SteadyTime position_due_;  // when a keepalive's position may be put into the log again
    bool reply_requested_ = false;
    bool is_more_durable_ = false;
};

}  // namespace pgcascade::relay
