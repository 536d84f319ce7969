#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include <pgcascade/change.hpp>
#include <pgcascade/lsn.hpp>

#include "relay/address.hpp"

namespace pgcascade::relay {

// What operators see of a session.
struct SessionInfo {
    std::uint32_t pid = 0;  // by which clients name it; no process has it
    Address client;
    std::string user;
    std::string database;
    std::string application_name;
    std::string slot;  // it streams for; empty: none
    std::string feed;  // empty while it streams WAL
    bool streams_wal = false;
    std::shared_ptr<const std::atomic<Lsn>> sent;  // whole, while it streams; null: it does not
    Lsn written;                                   // while it streams: what the client says
    Lsn flushed;
    Lsn applied;
    Timestamp heard;
};

// All sessions of a relay. Any thread.
class SessionList {
  public:
    struct Handlers {
        std::function<void()> cancel;  // what it runs; called by any thread
        std::function<void()> stop;    // it is to end in good order; called by any thread
    };

    // A number of its own, and the key that a cancel request must know.
    struct Identity {
        std::uint32_t pid = 0;
        std::string key;
    };
    Identity add(SessionInfo info, Handlers handlers);
    void remove(std::uint32_t pid);
    void update(std::uint32_t pid, const std::function<void(SessionInfo&)>& change);

    std::vector<SessionInfo> list() const;
    std::size_t size() const;

    // Nothing happens where the key is wrong: whoever asks is not told.
    void cancel(std::uint32_t pid, const std::string& key);
    void stop_all();

  private:
    struct Entry {
        SessionInfo info;
        std::string key;
        Handlers handlers;
    };

    // Sessions of all event loops come and go, and operators look on.
    mutable std::mutex mutex_;
    std::map<std::uint32_t, Entry> entries_;
    std::uint32_t last_pid_ = 0;
};

}  // namespace pgcascade::relay
