#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <sys/types.h>

// What a running server tells of itself in its data directory, and the processes that work there.

namespace pgcascade::postgres {

// postmaster.pid, one item a line: pid | data directory | start time | port | socket directory | listen
// address | shared memory key | status. Source: PostgreSQL, utils/pidfile.h. A server writes it in place, so
// the later lines may be missing while it starts.
struct PostmasterPid {
    enum class Status { kUnknown, kStarting, kStopping, kReady, kStandby };

    pid_t pid = 0;
    std::string port;
    std::string socket_directory;  // empty: none; relative to the data directory where it is relative
    std::string listen_address;    // empty: none; "*": all
    Status status = Status::kUnknown;
};

// Nothing where there is no such file, or no number in its first line.
std::optional<PostmasterPid> read_postmaster_pid(const std::filesystem::path& data_directory);

// Whether the process lives (a zombie doesn't) and is a server of this data directory: PostgreSQL's
// processes make it their working directory.
bool is_server_process(pid_t pid, const std::filesystem::path& data_directory);

// By postmaster.pid and a living process that works in this directory: a file that a killed server left
// behind does not count, nor does another process that has got its number since.
bool is_server_running(const std::filesystem::path& data_directory);

// All PostgreSQL processes, initdb too, that work in the directory. Of other accounts' processes, only root
// sees where they work.
std::vector<pid_t> server_processes(const std::filesystem::path& data_directory);

// Removes the lock files that a killed server left behind, in its data directory and beside its socket, where
// its number makes the next server believe that it still runs: PostgreSQL itself looks at the number only,
// which may belong to another process by now, or to a zombie that nobody reaps (a container without an init).
void remove_stale_locks(const std::filesystem::path& data_directory, const PostmasterPid& stale);

}  // namespace pgcascade::postgres
