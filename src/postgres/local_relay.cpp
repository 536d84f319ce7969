#include "postgres/local_relay.hpp"

#include <cerrno>
#include <csignal>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <pgcascade/error.hpp>

#include "base/diagnostics.hpp"
#include "base/stop_signal.hpp"
#include "postgres/local_server.hpp"
#include "postgres/server_log.hpp"

namespace pgcascade::postgres {

namespace fs = std::filesystem;
using std::chrono::milliseconds;

namespace {

constexpr const char* kLockFile = "lock";

void send_signal(const FileDescriptor& process, int number, const fs::path& directory) {
    if (::syscall(SYS_pidfd_send_signal, process.get(), number, nullptr, 0) == 0 || errno == ESRCH) return;
    throw SystemError("can't send a signal to the relay in " + directory.string(), errno,
                      "run pgcascade as the account that the relay runs as, or as root");
}

}  // namespace

LocalRelay::LocalRelay(Account account, fs::path directory, int stop_fd)
    : account_(std::move(account)), directory_(std::move(directory)), stop_fd_(stop_fd) {}

std::optional<pid_t> LocalRelay::process() const {
    const fs::path file = directory_ / kLockFile;
    const FileDescriptor lock{::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW)};
    if (!lock && (errno == ENOENT || errno == ENOTDIR)) return std::nullopt;
    if (!lock) throw SystemError("can't open " + file.string(), errno);
    struct flock owner {};
    owner.l_type = F_WRLCK;
    if (::fcntl(lock.get(), F_GETLK, &owner) != 0)
        throw SystemError("can't look at the lock " + file.string(), errno);
    if (owner.l_type == F_UNLCK) return std::nullopt;
    return owner.l_pid;
}

void LocalRelay::start(const fs::path& file) const {
    constexpr int kLookMs = 20;
    if (is_running()) return;
    const fs::path log = log_file();
    const FileDescriptor output = open_log(log, directory_, account_);
    const std::uintmax_t log_begin = fs::file_size(log);
    diagnostics::detail("starting the relay in " + directory_.string());
    // By this name the account gets at the program, whatever directories lie above it.
    const DetachedProcess relay = start_detached({.arguments = {"/proc/self/exe", "relay", file.string()},
                                                  .account = account_,
                                                  .directory = directory_,
                                                  .input = {},
                                                  .takes_variable = is_for_a_server},
                                                 output.get());
    while (process() != relay.pid)
        if (!relay.pidfd || wait_for(relay.pidfd.get(), POLLIN, kLookMs, stop_fd_) != 0)
            throw SystemError(fmt::format("the relay in {} did not start; its log ends:\n{}",
                                          directory_.string(), tail_of_log(log, log_begin, directory_)),
                              0, "the whole log is in " + log.string());
}

void LocalRelay::stop(milliseconds timeout, bool at_once) const {
    const auto pid = process();
    if (!pid) return;
    const FileDescriptor relay{static_cast<int>(::syscall(SYS_pidfd_open, *pid, 0))};
    if (!relay && errno == ESRCH) return;
    if (!relay) throw SystemError(fmt::format("can't watch process {}", *pid), errno);
    // Looked at again, now that the number can't pass to another process.
    if (process() != pid) return;
    send_signal(relay, at_once ? SIGKILL : SIGTERM, directory_);
    const int timeout_ms = timeout.count() > 0 ? static_cast<int>(timeout.count()) : -1;
    if (wait_for(relay.get(), POLLIN, timeout_ms, stop_fd_) == 0)
        throw SystemError(fmt::format("the relay in {} has not stopped within {} ms; its log ends:\n{}",
                                      directory_.string(), timeout.count(), log_tail()),
                          0, "end it as by a crash, which costs it nothing that it needs: --mode immediate");
}

void LocalRelay::reload() const {
    const auto pid = process();
    if (!pid) return;
    const FileDescriptor relay{static_cast<int>(::syscall(SYS_pidfd_open, *pid, 0))};
    if (relay && process() == pid) send_signal(relay, SIGHUP, directory_);
}

fs::path LocalRelay::log_file() const {
    return log_beside(directory_);
}

std::string LocalRelay::log_tail() const {
    return tail_of_log(log_file(), 0, directory_);
}

}  // namespace pgcascade::postgres
