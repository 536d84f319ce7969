#include "relay/waker.hpp"

#include <cerrno>

#include <sys/eventfd.h>

#include <pgcascade/error.hpp>

namespace pgcascade::relay {

Waker::Waker() : fd_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
    if (!fd_) throw SystemError("can't make an eventfd", errno);
}

// Neither can fail for a reason that matters: a counter at its limit is readable, one at zero is clear.
void Waker::wake() const {
    static_cast<void>(::eventfd_write(fd_.get(), 1));
}

void Waker::clear() const {
    eventfd_t count = 0;
    static_cast<void>(::eventfd_read(fd_.get(), &count));
}

}  // namespace pgcascade::relay
