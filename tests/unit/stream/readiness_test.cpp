#include "stream/readiness.hpp"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace pgcascade {
namespace {

bool is_readable(int fd, int timeout_ms) {
    pollfd poll_fd{fd, POLLIN, 0};
    return ::poll(&poll_fd, 1, timeout_ms) == 1;
}

struct SocketPair {
    SocketPair() {
        int fds[2];
        if (::socketpair(AF_UNIX, SOCK_STREAM, 0, fds) != 0) std::abort();
        near = FileDescriptor{fds[0]};
        far = FileDescriptor{fds[1]};
    }
    void send() const { ASSERT_EQ(::write(far.get(), "x", 1), 1); }

    FileDescriptor near;
    FileDescriptor far;
};

TEST(Readiness, FollowsTheSocketFromOneToTheNext) {
    Readiness readiness;
    EXPECT_FALSE(is_readable(readiness.fd(), 0));
    {
        const SocketPair first;
        readiness.watch(first.near.get());
        EXPECT_FALSE(is_readable(readiness.fd(), 0));
        first.send();
        EXPECT_TRUE(is_readable(readiness.fd(), 5'000));
    }
    EXPECT_FALSE(is_readable(readiness.fd(), 0));
    const SocketPair second;
    readiness.watch(second.near.get());
    second.send();
    EXPECT_TRUE(is_readable(readiness.fd(), 5'000));
}

TEST(Readiness, WakesWhenTheTimeHasCome) {
    Readiness readiness;
    readiness.wake_at(steady_now() + std::chrono::hours{1});
    EXPECT_FALSE(is_readable(readiness.fd(), 0));
    readiness.wake_at(steady_now() - std::chrono::hours{1});
    EXPECT_TRUE(is_readable(readiness.fd(), 5'000));
    readiness.wake_at(steady_now() + std::chrono::hours{1});
    EXPECT_FALSE(is_readable(readiness.fd(), 0));
}

TEST(Readiness, ANewSocketEndsTheWaitForATime) {
    Readiness readiness;
    readiness.wake_at(steady_now() - std::chrono::hours{1});
    const SocketPair sockets;
    readiness.watch(sockets.near.get());
    EXPECT_FALSE(is_readable(readiness.fd(), 0));
}

}  // namespace
}  // namespace pgcascade
