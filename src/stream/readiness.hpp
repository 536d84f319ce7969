#pragma once

#include "base/clock.hpp"
#include "base/file.hpp"

namespace pgcascade {

// Waits for whichever comes first: the socket (which one may change), a time, a stop. For poll(2) loops that
// are not ours it has one descriptor, the same for ever, that is readable as long as one of the three has
// come.
//
// Not bound to one socket's number, because libpq closes a socket that failed within whichever call finds
// out, also one of another thread: a poll(2) on the number would then wait for nothing, or for a stranger.
// wake_at() may be called by any thread. Throws SystemError.
class Readiness {
  public:
    explicit Readiness(int stop_fd);  // -1: none

    int fd() const { return epoll_.get(); }

    // From now on this socket, and no time. The one before must be closed already.
    void watch(int socket);

    // Replaces the time before; one that has passed wakes at once.
    void wake_at(SteadyTime time);

    void sleep() { arm(timer_, {}); }  // no time, until the next wake_at()

    // What arrives in the meantime wakes nobody.
    void ignore_socket_for(SteadyTime::duration pause);

    struct Ready {
        bool socket = false;
        bool time = false;
        bool stop = false;
    };
    // -1: until one of them comes. None of them: the time-out came first.
    Ready wait(int timeout_ms);

  private:
    static void arm(const FileDescriptor& timer, SteadyTime::duration delay);
    void heed_socket(bool heed);

    FileDescriptor epoll_;
    FileDescriptor timer_;
    FileDescriptor pause_;
    int socket_ = -1;
};

}  // namespace pgcascade
