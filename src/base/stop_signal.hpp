#pragma once

#include "base/file.hpp"

namespace pgcascade {

// SIGINT, SIGTERM and SIGHUP (the terminal is gone; not under nohup) as a descriptor. Made once in main(),
// before any thread, it blocks them for the whole process; fd() is readable from the first signal on and
// stays so (nobody takes the signal out), so any number of threads can poll(2) it beside what they wait for.
// Children must unblock the signals before exec: Subprocess does.
class StopSignal {
  public:
    StopSignal();

    int fd() const { return fd_.get(); }
    bool requested() const;

    // Throws Stopped where a stop was requested.
    void check() const;

    // For a daemon: from now on SIGHUP does not stop; it is readable at the descriptor that this returns, a
    // signalfd(2) of its own. Throws SystemError.
    FileDescriptor release_hangup() const;

  private:
    FileDescriptor fd_;
};

// Waits until `fd` has one of `events` (poll(2)'s bits), the time is over (-1: never), or stop_fd (-1: none)
// is readable. Returns the events that came, 0 for the time-out. Throws Stopped.
short wait_for(int fd, short events, int timeout_ms, int stop_fd);

}  // namespace pgcascade
