#include "base/stop_signal.hpp"

#include <csignal>

#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include <pgcascade/error.hpp>

namespace pgcascade {

TEST(StopSignal, StaysRequestedOnceItCame) {
    // In a child, because a signal that was blocked and raised stays pending in its process for good.
    EXPECT_EXIT(
        {
            const StopSignal stop;
            if (stop.requested()) std::_Exit(1);
            ::raise(SIGTERM);
            if (!stop.requested() || !stop.requested()) std::_Exit(2);
            try {
                wait_for(-1, 0, -1, stop.fd());
            } catch (const Stopped&) {
                std::_Exit(0);
            }
            std::_Exit(3);
        },
        testing::ExitedWithCode(0), "");
}

TEST(StopSignal, WaitEndsWithWhatCame) {
    int ends[2];
    ASSERT_EQ(::pipe(ends), 0);
    const FileDescriptor read_end{ends[0]};
    const FileDescriptor write_end{ends[1]};
    EXPECT_EQ(wait_for(read_end.get(), POLLIN, 0, -1), 0);
    ASSERT_EQ(::write(write_end.get(), "x", 1), 1);
    EXPECT_EQ(wait_for(read_end.get(), POLLIN, -1, -1), POLLIN);
}

}  // namespace pgcascade
