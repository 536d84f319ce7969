#pragma once

#include <chrono>
#include <set>
#include <string>

#include "base/clock.hpp"

// Tells progress from standing still, by texts that say how far something is. Only a text that has not been
// seen before is progress: what goes to and fro between two of them gets nowhere.

namespace pgcascade::tree {

class StallWatch {
  public:
    StallWatch(std::chrono::milliseconds timeout, SteadyTime now)
        : timeout_(timeout), deadline_(now + timeout) {}

    // Whether there has been no progress for the time-out.
    bool is_stalled(const std::string& text, SteadyTime now) {
        if (seen_.insert(text).second) deadline_ = now + timeout_;
        return now > deadline_;
    }

  private:
    std::chrono::milliseconds timeout_;
    SteadyTime deadline_;
    std::set<std::string> seen_;
};

}  // namespace pgcascade::tree
