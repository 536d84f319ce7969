#pragma once

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>

#include <sys/types.h>

#include "base/subprocess.hpp"

// A relay on this machine: this very program, at work in a directory of its own (`pgcascade relay FILE`). It
// outlives this process. Which relay works in a directory the kernel tells, by the lock that it holds there,
// so nothing that a killed one left behind is taken for it.

namespace pgcascade::postgres {

class LocalRelay {
  public:
    // stop_fd: where it gets readable, the waits of start() and stop() end with Stopped.
    LocalRelay(Account account, std::filesystem::path directory, int stop_fd = -1);

    // Of the relay that works there, whoever started it; nothing: none does. Throws SystemError where this
    // process may not look.
    std::optional<pid_t> process() const;
    bool is_running() const { return process().has_value(); }

    // Starts it by that file, as the account, in a session of its own. Returns once it has the directory, at
    // once where one has it already: whether it listens its clients tell. Throws SystemError with the tail of
    // its log where it ends before.
    void start(const std::filesystem::path& file) const;

    // In order (SIGTERM), which takes as long as its clients take to get what it has, at most some seconds;
    // `at_once`: as a crash. Returns once it has ended, at once where none runs. Throws SystemError when it
    // takes longer than `timeout` (0: no limit).
    void stop(std::chrono::milliseconds timeout, bool at_once = false) const;

    // Has one that runs read its users anew. It does so at once.
    void reload() const;

    // Where start() sends what the relay says: log_beside().
    std::filesystem::path log_file() const;
    std::string log_tail() const;  // its last lines, for a message

  private:
    Account account_;
    std::filesystem::path directory_;
    int stop_fd_;
};

}  // namespace pgcascade::postgres
