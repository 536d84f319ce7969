#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.hpp"

namespace pgcascade {

// The operating system account that a child process runs as (postgres refuses to run as root).
struct Account {
    std::string name;
    FileOwner ids;
    std::filesystem::path home;

    // Throws ConfigError where there is no such account.
    static Account named(const std::string& name);
    static Account of_user(uid_t user);
    static Account current();
};

struct CommandResult {
    int exit_status = 0;  // as a shell has it: 128 + n for signal n
    std::string output;   // standard output and standard error, as they came
};

struct Command {
    std::vector<std::string> arguments;  // [0] is the program, searched in PATH where it has no slash
    std::optional<Account> account;      // nothing: as this process
    std::filesystem::path directory;     // working directory; empty: "/" with an account, else unchanged
    std::string input;                   // standard input
    bool (*takes_variable)(std::string_view name) = nullptr;  // of the environment; null: all of it
    bool end_with_parent = false;  // SIGTERM when this process (strictly: the calling thread) is gone
};

// Runs the command to its end and collects what it prints. A grandchild that keeps the output open does not
// delay the return. Throws SystemError where it can't be started; Stopped (and ends the child by SIGTERM,
// then SIGKILL) where stop_fd gets readable.
CommandResult run(const Command& command, int stop_fd = -1);

// A process that goes on when this one ends.
struct DetachedProcess {
    pid_t pid = -1;
    FileDescriptor pidfd;  // readable once the process has ended; none where it ended at once
};

// Starts the command in a session of its own, no child of this process; what it prints goes to output_fd.
// Throws SystemError where it can't be started.
DetachedProcess start_detached(const Command& command, int output_fd);

}  // namespace pgcascade
