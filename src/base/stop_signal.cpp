#include "base/stop_signal.hpp"

#include <cerrno>
#include <csignal>

#include <poll.h>
#include <sys/signalfd.h>

#include <pgcascade/error.hpp>

#include "base/clock.hpp"

namespace pgcascade {

// nohup(1) says so before it starts a program; a signalfd would be told all the same.
static bool is_ignored(int signal) {
    struct sigaction action {};
    return ::sigaction(signal, nullptr, &action) == 0 && action.sa_handler == SIG_IGN;
}

StopSignal::StopSignal() {
    sigset_t stops;
    sigemptyset(&stops);
    for (const int signal : {SIGINT, SIGTERM, SIGHUP})
        if (signal != SIGHUP || !is_ignored(signal)) sigaddset(&stops, signal);
    if (const int error = pthread_sigmask(SIG_BLOCK, &stops, nullptr); error != 0)
        throw SystemError("can't block the signals that stop a program", error);
    fd_ = FileDescriptor{::signalfd(-1, &stops, SFD_CLOEXEC | SFD_NONBLOCK)};
    if (!fd_) throw SystemError("can't make a signalfd", errno);
}

bool StopSignal::requested() const {
    pollfd poll_fd{fd(), POLLIN, 0};
    return ::poll(&poll_fd, 1, 0) == 1;
}

void StopSignal::check() const {
    if (requested()) throw Stopped();
}

FileDescriptor StopSignal::release_hangup() const {
    sigset_t hangup;
    sigemptyset(&hangup);
    sigaddset(&hangup, SIGHUP);
    sigset_t stops;
    sigemptyset(&stops);
    for (const int signal : {SIGINT, SIGTERM}) sigaddset(&stops, signal);
    FileDescriptor released{::signalfd(-1, &hangup, SFD_CLOEXEC | SFD_NONBLOCK)};
    if (!released || ::signalfd(fd(), &stops, 0) < 0) throw SystemError("can't make a signalfd", errno);
    // nohup(1) is for programs that should outlive a terminal; a daemon is told all the same.
    if (const int error = pthread_sigmask(SIG_BLOCK, &hangup, nullptr); error != 0)
        throw SystemError("can't block SIGHUP", error);
    return released;
}

short wait_for(int fd, short events, int timeout_ms, int stop_fd) {
    using std::chrono::milliseconds;
    const SteadyTime deadline = steady_now() + milliseconds{timeout_ms};
    for (;;) {
        int left = timeout_ms;
        if (timeout_ms >= 0) {
            const auto rest = std::chrono::ceil<milliseconds>(deadline - steady_now()).count();
            left = static_cast<int>(rest > 0 ? rest : 0);
        }
        pollfd poll_fds[2] = {{fd, events, 0}, {stop_fd, POLLIN, 0}};  // poll(2) ignores negative descriptors
        const int ready = ::poll(poll_fds, 2, left);
        if (ready < 0 && errno == EINTR) continue;
        if (ready < 0) throw SystemError("poll failed", errno);
        if (poll_fds[1].revents != 0) throw Stopped();
        return poll_fds[0].revents;
    }
}

}  // namespace pgcascade
