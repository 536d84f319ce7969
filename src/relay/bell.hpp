#pragma once

#include <atomic>
#include <unordered_set>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/steady_timer.hpp>

namespace pgcascade::relay {

// Wakes the sessions of one event loop that wait for more of one feed.
class Bell {
  public:
    explicit Bell(boost::asio::any_io_executor loop) : loop_(std::move(loop)) {}

    // Any thread. Rung many times before the loop comes to it, it wakes once.
    void ring();

    // While it lives, a wait for the timer ends when the bell rings. On the loop's thread.
    class Listener {
      public:
        Listener(Bell& bell, boost::asio::steady_timer& timer);
        ~Listener();
        Listener(const Listener&) = delete;
        Listener& operator=(const Listener&) = delete;

      private:
        Bell& bell_;
        boost::asio::steady_timer& timer_;
    };

  private:
    boost::asio::any_io_executor loop_;
    std::unordered_set<boost::asio::steady_timer*> timers_;
    std::atomic<int> listeners_{0};
    std::atomic<bool> is_ringing_{false};
};

}  // namespace pgcascade::relay
