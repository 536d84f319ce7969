#pragma once

#include <atomic>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <prometheus/histogram.h>

#include "base/clock.hpp"
#include "relay/incoming_log.hpp"
#include "relay/relay_file.hpp"
#include "relay/reserve_file.hpp"
#include "relay/slot_store.hpp"
#include "relay/waker.hpp"

namespace pgcascade::relay {

// Brings the logs and the slots to disk, in a thread of its own, so that nobody who receives or sends waits
// for a disk, and removes what no slot needs any more. One fsync serves all that has come since the last.
class LogKeeper {
  public:
    struct Kept {
        IncomingLog* log;
        std::function<void()> on_durable;             // more of it is on disk
        std::function<bool(const Slot&)> is_held_by;  // whether a slot holds it back
    };
    // `sync_seconds`: is told how long the disk takes.
    LogKeeper(std::vector<Kept> logs, SlotStore& slots, const RelayConfig& config,
              prometheus::Histogram& sync_seconds)
        : logs_(std::move(logs)),
          slots_(slots),
          config_(config),
          sync_seconds_(sync_seconds),
          reserve_(config.directory) {}

    // There is something to be brought to disk. Any thread.
    void on_news() const { news_.wake(); }

    // Until stop(), and then once more. Throws SystemError: what the disk holds is unknown then, and the
    // process must end.
    void run();
    void stop();

  private:
    void sync();
    void tidy();
    bool save_slots(const std::function<void()>& save);
    void remove_what_nobody_needs(const Kept& kept);
    void keep_limit(const Kept& kept);
    void pause_where_full(const Kept& kept);
    std::optional<Slot> most_lagging(const Kept& kept) const;
    bool is_past_limit(const IncomingLog& log) const;

    const std::vector<Kept> logs_;
    SlotStore& slots_;
    const RelayConfig& config_;
    prometheus::Histogram& sync_seconds_;
    Waker news_;
    std::atomic<bool> is_stopping_{false};
    SteadyTime synced_{};
    SteadyTime tidy_due_{};
    ReserveFile reserve_;
    bool is_want_of_room_told_ = false;
};

}  // namespace pgcascade::relay
