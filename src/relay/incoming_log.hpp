#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>

#include <pgcascade/lsn.hpp>

#include "relay/traffic.hpp"

namespace pgcascade::relay {

// What one upstream sends, in the relay's log: of a feed, or the WAL. Shared by its receiver, who writes, the
// log keeper, and the sessions that read. Any thread, but where it says otherwise.
class IncomingLog {
  public:
    // `label`: how messages call it, "feed shop".
    explicit IncomingLog(std::string label) : label_(std::move(label)) {}
    virtual ~IncomingLog() = default;
    IncomingLog(const IncomingLog&) = delete;
    IncomingLog& operator=(const IncomingLog&) = delete;

    const std::string& label() const { return label_; }

    // Who wants to be told that more is readable, or that something was taken away. Set before anybody runs.
    std::function<void()> on_news = [] {};

    mutable Traffic traffic;

    // The log has reached its limit: nothing is to be received until it has room again.
    bool is_full() const { return is_full_; }
    void set_full(bool is_full) { is_full_ = is_full; }

    // What keeps the receiver from receiving; empty: nothing.
    std::string problem() const;
    void set_problem(std::string problem);

    virtual std::uint64_t bytes() const = 0;

    // -- The log keeper's --

    // Brings what is readable to disk; true where there was something. A failure must end the process.
    virtual bool sync() = 0;

    // Removes what nobody needs who needs nothing below this; nothing: who needs nothing at all.
    virtual void remove_before(std::optional<Lsn> needed) = 0;

    // True where something could be removed if only nobody needed what stands at this position.
    virtual bool is_held_at(Lsn position) const = 0;

    // What a downstream needs whose slot was given up.
    virtual const char* way_back() const = 0;

  private:
    const std::string label_;
    std::atomic<bool> is_full_{false};
    mutable std::mutex problem_mutex_;  // read by every login, and changes seldom
    std::string problem_;
};

}  // namespace pgcascade::relay
