#pragma once

#include <atomic>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.hpp"
#include "relay/feed.hpp"
#include "relay/slot_store.hpp"
#include "relay/waker.hpp"

namespace pgcascade::relay {

// Brings the logs and the slots to disk, in a thread of its own, so that nobody who receives or sends waits
// for a disk, and removes what no slot needs any more. One fsync serves all that has come since the last.
class LogKeeper {
  public:
    struct Kept {
        Feed* feed;
        std::function<void()> on_durable;  // more of its log is on disk
    };
    LogKeeper(std::vector<Kept> feeds, SlotStore& slots, const RelayConfig& config)
        : feeds_(std::move(feeds)), slots_(slots), config_(config) {}

    // There is something to be brought to disk. Any thread.
    void on_news() const { news_.wake(); }

    // Until stop(), and then once more. Throws SystemError: what the disk holds is unknown then, and the
    // process must end.
    void run();
    void stop();

  private:
    void sync();
    void tidy();
    void remove_what_nobody_needs(Feed& feed);
    void keep_limit(Feed& feed);
    void pause_where_full(Feed& feed);
    std::optional<Slot> most_lagging(const std::string& database) const;

    const std::vector<Kept> feeds_;
    SlotStore& slots_;
    const RelayConfig& config_;
    Waker news_;
    std::atomic<bool> is_stopping_{false};
    SteadyTime synced_{};
    SteadyTime tidy_due_{};
};

}  // namespace pgcascade::relay
