#pragma once

#include <algorithm>
#include <chrono>

#include "base/clock.hpp"

namespace pgcascade::postgres {

// When to let messages gather before they are read. A walsender sends every message by itself. A reader that
// is faster than the server is woken by each one, and waking it costs the server more time than making the
// message did: the faster the reader, the slower the stream. One that looks a few thousand times a second,
// and then takes all that has come, gets the same stream in half the time.
//
// A burst is read as it comes, so that a transaction on a quiet server is never held up. Pure.
class Pacing {
  public:
    static constexpr std::chrono::microseconds kInterval{400};  // between reads, in the long run
    static constexpr int kBurst = 64;                           // reads that may come as fast as they like

    explicit Pacing(std::chrono::microseconds interval = kInterval) : interval_(interval) {}

    void has_read(SteadyTime time) {
        due_ = std::min(std::max(due_, time) + interval_, time + (kBurst + 1) * interval_);
    }

    // How long to wait before the next read, where little is there to be read; zero or less: not at all.
    SteadyTime::duration pause(SteadyTime time) const { return due_ - time - kBurst * interval_; }

  private:
    std::chrono::microseconds interval_;
    SteadyTime due_{};
};

}  // namespace pgcascade::postgres
