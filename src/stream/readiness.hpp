#pragma once

#include "base/clock.hpp"
#include "base/file.hpp"

namespace pgcascade {

// One descriptor, the same for ever, that is readable when a socket is (which one may change) or a time has
// come. For poll(2) loops that are not ours. Throws SystemError.
class Readiness {
  public:
    Readiness();

    int fd() const { return epoll_.get(); }

    void watch(int socket);
    // For when there is no socket; forgets the one before, which may be closed already.
    void wake_at(SteadyTime time);

  private:
    void arm(SteadyTime::duration delay);

    FileDescriptor epoll_;
    FileDescriptor timer_;
};

}  // namespace pgcascade
