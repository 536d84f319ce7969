#include "stream/readiness.hpp"

#include <algorithm>
#include <cerrno>

#include <sys/epoll.h>
#include <sys/timerfd.h>

#include <pgcascade/error.hpp>

namespace pgcascade {

using std::chrono::nanoseconds;

namespace {

enum Source : std::uint32_t { kSocket, kTime, kStop };

void add(int epoll, int fd, Source source) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u32 = source;
    if (::epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0) throw SystemError("epoll_ctl failed", errno);
}

}  // namespace

Readiness::Readiness(int stop_fd)
    : epoll_(::epoll_create1(EPOLL_CLOEXEC)),
      timer_(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)) {
    if (!epoll_) throw SystemError("can't make an epoll descriptor", errno);
    if (!timer_) throw SystemError("can't make a timer descriptor", errno);
    add(epoll_.get(), timer_.get(), kTime);
    if (stop_fd >= 0) add(epoll_.get(), stop_fd, kStop);
}

// A socket that is closed leaves the set by itself.
void Readiness::watch(int socket) {
    arm(nanoseconds{0});
    add(epoll_.get(), socket, kSocket);
}

void Readiness::wake_at(SteadyTime time) {
    arm(std::max<SteadyTime::duration>(time - steady_now(), nanoseconds{1}));
}

// 0 disarms, and takes back that the time has come.
void Readiness::arm(SteadyTime::duration delay) {
    const auto ns = std::chrono::duration_cast<nanoseconds>(delay).count();
    itimerspec when{};
    when.it_value.tv_sec = ns / 1'000'000'000;
    when.it_value.tv_nsec = ns % 1'000'000'000;
    if (::timerfd_settime(timer_.get(), 0, &when, nullptr) != 0)
        throw SystemError("can't set a timer", errno);
}

Readiness::Ready Readiness::wait(int timeout_ms) const {
    constexpr int kSources = 3;
    epoll_event events[kSources];
    int count = 0;
    do {
        count = ::epoll_wait(epoll_.get(), events, kSources, timeout_ms);
    } while (count < 0 && errno == EINTR);
    if (count < 0) throw SystemError("epoll_wait failed", errno);
    Ready ready;
    for (int i = 0; i < count; ++i) {
        ready.socket |= events[i].data.u32 == kSocket;
        ready.time |= events[i].data.u32 == kTime;
        ready.stop |= events[i].data.u32 == kStop;
    }
    return ready;
}

}  // namespace pgcascade
