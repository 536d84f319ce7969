#include "postgres/postmaster_pid.hpp"

#include <array>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <sstream>

#include <unistd.h>

#include <pgcascade/error.hpp>

#include "base/file.hpp"

namespace pgcascade::postgres {

namespace fs = std::filesystem;

namespace {

using Status = PostmasterPid::Status;

Status parse_status(std::string text) {
    while (!text.empty() && text.back() == ' ') text.pop_back();
    if (text == "starting") return Status::kStarting;
    if (text == "stopping") return Status::kStopping;
    if (text == "ready") return Status::kReady;
    if (text == "standby") return Status::kStandby;
    return Status::kUnknown;
}

using LockFile = std::array<std::string, 8>;

std::optional<LockFile> read_lock_file(const fs::path& path) {
    std::string content;
    try {
        content = read_file(path);
    } catch (const SystemError& problem) {
        if (problem.error_number() == ENOENT || problem.error_number() == ENOTDIR) return std::nullopt;
        throw;
    }
    LockFile lines;
    std::istringstream text{content};
    for (std::string& line : lines) std::getline(text, line);
    return lines;
}

std::optional<pid_t> parse_pid(const std::string& text) {
    pid_t pid = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), pid);
    if (error != std::errc{} || end != text.data() + text.size() || pid <= 0) return std::nullopt;
    return pid;
}

// pid (comm) state …; the name may hold anything, a parenthesis too.
struct ProcessState {
    std::string name;
    char state = '?';
};

std::optional<ProcessState> read_process_state(pid_t pid) {
    std::string stat;
    try {
        stat = read_file("/proc/" + std::to_string(pid) + "/stat");
    } catch (const SystemError&) {
        return std::nullopt;  // it has ended
    }
    const auto open = stat.find('(');
    const auto close = stat.rfind(')');
    if (open == std::string::npos || close == std::string::npos || close + 2 >= stat.size())
        return std::nullopt;
    return ProcessState{stat.substr(open + 1, close - open - 1), stat[close + 2]};
}

// postgres, postmaster or initdb: a shell that somebody left in the directory is no server.
bool is_living_postgres(const ProcessState& process) {
    return process.state != 'Z' && process.state != 'X' &&
           (process.name.starts_with("post") || process.name == "initdb");
}

std::optional<fs::path> working_directory(pid_t pid) {
    std::error_code error;
    fs::path directory = fs::read_symlink("/proc/" + std::to_string(pid) + "/cwd", error);
    if (error) return std::nullopt;
    return directory;
}

}  // namespace

std::optional<PostmasterPid> read_postmaster_pid(const fs::path& data_directory) {
    const auto lines = read_lock_file(data_directory / "postmaster.pid");
    if (!lines) return std::nullopt;
    const auto pid = parse_pid((*lines)[0]);
    if (!pid) return std::nullopt;
    return PostmasterPid{*pid, (*lines)[3], (*lines)[4], (*lines)[5], parse_status((*lines)[7])};
}

bool is_server_process(pid_t pid, const fs::path& data_directory) {
    const auto process = read_process_state(pid);
    if (!process || !is_living_postgres(*process)) return false;
    const auto directory = working_directory(pid);
    if (!directory) return true;  // another account's process: its name has to do
    std::error_code error;
    return *directory == fs::canonical(data_directory, error) && !error;
}

bool is_server_running(const fs::path& data_directory) {
    const auto file = read_postmaster_pid(data_directory);
    return file && is_server_process(file->pid, data_directory);
}

std::vector<pid_t> server_processes(const fs::path& data_directory) {
    std::vector<pid_t> found;
    std::error_code error;
    const fs::path directory = fs::canonical(data_directory, error);
    if (error) return found;
    for (fs::directory_iterator entries{"/proc", error}, end; !error && entries != end;
         entries.increment(error)) {
        const auto pid = parse_pid(entries->path().filename().string());
        if (!pid || working_directory(*pid) != directory) continue;
        const auto process = read_process_state(*pid);
        if (process && is_living_postgres(*process)) found.push_back(*pid);
    }
    return found;
}

void remove_stale_locks(const fs::path& data_directory, const PostmasterPid& stale) {
    if (::kill(stale.pid, 0) != 0) return;
    const auto own = read_lock_file(data_directory / "postmaster.pid");
    if (!own) return;
    std::vector<fs::path> locks{data_directory / "postmaster.pid"};
    if (!stale.socket_directory.empty()) {
        const fs::path beside_socket =
            data_directory / stale.socket_directory / (".s.PGSQL." + stale.port + ".lock");
        // Another server may have taken the socket since: the file tells whose it is.
        const auto lock = read_lock_file(beside_socket);
        if (lock && (*lock)[0] == (*own)[0] && (*lock)[1] == (*own)[1])
            locks.insert(locks.begin(), beside_socket);
    }
    for (const fs::path& lock : locks)
        if (::unlink(lock.c_str()) != 0 && errno != ENOENT)
            throw SystemError("can't remove " + lock.string() + ", which a killed server left", errno);
}

}  // namespace pgcascade::postgres
