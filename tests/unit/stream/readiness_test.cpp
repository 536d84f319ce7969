#include "stream/readiness.hpp"

#include <thread>

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
    Readiness readiness{-1};
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
    Readiness readiness{-1};
    readiness.wake_at(steady_now() + std::chrono::hours{1});
    EXPECT_FALSE(is_readable(readiness.fd(), 0));
    readiness.wake_at(steady_now() - std::chrono::hours{1});
    EXPECT_TRUE(is_readable(readiness.fd(), 5'000));
    readiness.wake_at(steady_now() + std::chrono::hours{1});
    EXPECT_FALSE(is_readable(readiness.fd(), 0));
}

TEST(Readiness, ANewSocketEndsTheWaitForATime) {
    Readiness readiness{-1};
    readiness.wake_at(steady_now() - std::chrono::hours{1});
    const SocketPair sockets;
    readiness.watch(sockets.near.get());
    EXPECT_FALSE(is_readable(readiness.fd(), 0));
}

TEST(Readiness, TellsWhatHasCome) {
    const SocketPair stop;
    Readiness readiness{stop.near.get()};
    const SocketPair sockets;
    readiness.watch(sockets.near.get());
    Readiness::Ready ready = readiness.wait(0);
    EXPECT_FALSE(ready.socket || ready.time || ready.stop);

    sockets.send();
    ready = readiness.wait(-1);
    EXPECT_TRUE(ready.socket);
    EXPECT_FALSE(ready.time || ready.stop);

    readiness.wake_at(steady_now());
    stop.send();
    while (!readiness.wait(-1).time) {
    }
    ready = readiness.wait(-1);
    EXPECT_TRUE(ready.socket && ready.time && ready.stop);

    readiness.sleep();
    EXPECT_FALSE(readiness.wait(-1).time);
}

TEST(Readiness, IgnoresTheSocketForAWhile) {
    Readiness readiness{-1};
    const SocketPair sockets;
    readiness.watch(sockets.near.get());
    sockets.send();
    readiness.ignore_socket_for(std::chrono::hours{1});
    EXPECT_FALSE(is_readable(readiness.fd(), 0));
    EXPECT_FALSE(readiness.wait(0).socket);

    readiness.ignore_socket_for(std::chrono::microseconds{1});
    EXPECT_TRUE(is_readable(readiness.fd(), 5'000));
    EXPECT_TRUE(readiness.wait(-1).socket);
    EXPECT_TRUE(readiness.wait(-1).socket);
}

TEST(Readiness, HeedsANewSocketAtOnce) {
    Readiness readiness{-1};
    {
        const SocketPair first;
        readiness.watch(first.near.get());
        readiness.ignore_socket_for(std::chrono::hours{1});
    }
    const SocketPair second;
    readiness.watch(second.near.get());
    second.send();
    EXPECT_TRUE(readiness.wait(-1).socket);
}

TEST(Readiness, IgnoresASocketThatIsClosedAlready) {
    Readiness readiness{-1};
    {
        const SocketPair sockets;
        readiness.watch(sockets.near.get());
    }
    readiness.ignore_socket_for(std::chrono::microseconds{1});
    readiness.wake_at(steady_now());
    EXPECT_TRUE(readiness.wait(-1).time);
}

// libpq closes the socket in whichever thread finds that the connection is gone.
TEST(Readiness, WakesAWaitThatLostItsSocketMeanwhile) {
    Readiness readiness{-1};
    SocketPair sockets;
    readiness.watch(sockets.near.get());
    std::thread other{[&] {
        sockets.near.reset();
        readiness.wake_at(steady_now());
    }};
    EXPECT_TRUE(readiness.wait(-1).time);
    other.join();
}

}  // namespace
}  // namespace pgcascade
