#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>

#include <pgcascade/lsn.hpp>

#include "base/diagnostics.hpp"
#include "relay/traffic.hpp"

namespace pgcascade::relay {

// What one upstream sends, in the relay's log: of a feed, or the WAL. Shared by its receiver, who writes, the
// log keeper, and the sessions that read. Any thread, but where it says otherwise.
class IncomingLog {
  public:
    // How messages call it: `label`, "feed shop", for people, `fields` for programs.
    IncomingLog(std::string label, diagnostics::Fields fields)
        : label_(std::move(label)), fields_(std::move(fields)) {}
    virtual ~IncomingLog() = default;
    IncomingLog(const IncomingLog&) = delete;
    IncomingLog& operator=(const IncomingLog&) = delete;

    const std::string& label() const { return label_; }

    // The fields of a message about this log, and `more` of that message.
    diagnostics::Fields about(diagnostics::Fields more = {}) const;

    // Who wants to be told that more is readable, or that something was taken away. Set before anybody runs.
    std::function<void()> on_news = [] {};

    mutable Traffic traffic;

    // The log has reached its limit: nothing is to be received until it has room again.
    bool is_full() const { return is_full_; }
    void set_full(bool is_full) { is_full_ = is_full; }

    // To whom the receiver is connected, as pg_stat_wal_receiver has it; nothing while it is not.
    struct Sender {
        std::string host;
        std::string port;
    };
    std::optional<Sender> sender() const;
    void set_sender(std::optional<Sender> sender);

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
    const diagnostics::Fields fields_;
    std::atomic<bool> is_full_{false};
    mutable std::mutex mutex_;  // what follows is read by every login, and changes seldom
    std::optional<Sender> sender_;
    std::string problem_;
};

}  // namespace pgcascade::relay
