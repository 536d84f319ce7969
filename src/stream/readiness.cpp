#include "stream/readiness.hpp"

#include <algorithm>
#include <cerrno>

#include <sys/epoll.h>
#include <sys/timerfd.h>

#include <pgcascade/error.hpp>

namespace pgcascade {

using std::chrono::nanoseconds;

namespace {

enum Source : std::uint32_t { kSocket, kTime, kPauseOver, kStop };

void add(int epoll, int fd, Source source) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u32 = source;
    if (::epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0) throw SystemError("epoll_ctl failed", errno);
}

FileDescriptor make_timer() {
    FileDescriptor timer{::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)};
    if (!timer) throw SystemError("can't make a timer descriptor", errno);
    return timer;
}

}  // namespace

Readiness::Readiness(int stop_fd)
    : epoll_(::epoll_create1(EPOLL_CLOEXEC)), timer_(make_timer()), pause_(make_timer()) {
    if (!epoll_) throw SystemError("can't make an epoll descriptor", errno);
    add(epoll_.get(), timer_.get(), kTime);
    add(epoll_.get(), pause_.get(), kPauseOver);
    if (stop_fd >= 0) add(epoll_.get(), stop_fd, kStop);
}

// A socket that is closed leaves the set by itself.
void Readiness::watch(int socket) {
    arm(timer_, {});
    arm(pause_, {});
    add(epoll_.get(), socket, kSocket);
    socket_ = socket;
}

void Readiness::wake_at(SteadyTime time) {
    arm(timer_, std::max<SteadyTime::duration>(time - steady_now(), nanoseconds{1}));
}

void Readiness::ignore_socket_for(SteadyTime::duration pause) {
    heed_socket(false);
    arm(pause_, pause);
}

// A socket that libpq has closed in the meantime is no longer in the set: then there is nothing to change,
// and its number may stand for anything else by now.
void Readiness::heed_socket(bool heed) {
    epoll_event event{};
    event.events = heed ? EPOLLIN : 0U;
    event.data.u32 = kSocket;
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, socket_, &event);
}

// 0 disarms, and takes back that the time has come.
void Readiness::arm(const FileDescriptor& timer, SteadyTime::duration delay) {
    const auto ns = std::chrono::duration_cast<nanoseconds>(delay).count();
    itimerspec when{};
    when.it_value.tv_sec = ns / 1'000'000'000;
    when.it_value.tv_nsec = ns % 1'000'000'000;
    if (::timerfd_settime(timer.get(), 0, &when, nullptr) != 0) throw SystemError("can't set a timer", errno);
}

Readiness::Ready Readiness::wait(int timeout_ms) {
    constexpr int kSources = 4;
    epoll_event events[kSources];
    for (;;) {
        const int count = ::epoll_wait(epoll_.get(), events, kSources, timeout_ms);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) throw SystemError("epoll_wait failed", errno);
        Ready ready;
        bool pause_over = false;
        for (int i = 0; i < count; ++i) {
            ready.socket |= events[i].data.u32 == kSocket;
            ready.time |= events[i].data.u32 == kTime;
            ready.stop |= events[i].data.u32 == kStop;
            pause_over |= events[i].data.u32 == kPauseOver;
        }
        if (!pause_over) return ready;
        arm(pause_, {});
        heed_socket(true);
    }
}

}  // namespace pgcascade
