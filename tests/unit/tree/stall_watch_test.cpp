#include "tree/stall_watch.hpp"

#include <gtest/gtest.h>

namespace pgcascade::tree {

using std::chrono::seconds;

TEST(StallWatchTest, NewTextsAreProgress) {
    const SteadyTime start{};
    StallWatch watch{seconds{10}, start};
    for (int second = 0; second < 100; ++second)
        EXPECT_FALSE(watch.is_stalled("at 0/" + std::to_string(second), start + seconds{second}));
}

TEST(StallWatchTest, StatesThatAlternateAreNone) {
    const SteadyTime start{};
    StallWatch watch{seconds{10}, start};
    EXPECT_FALSE(watch.is_stalled("its walreceiver does not run", start));
    EXPECT_FALSE(watch.is_stalled("its walreceiver is starting", start + seconds{1}));
    EXPECT_FALSE(watch.is_stalled("its walreceiver does not run", start + seconds{8}));
    EXPECT_FALSE(watch.is_stalled("its walreceiver is starting", start + seconds{11}));
    EXPECT_TRUE(watch.is_stalled("its walreceiver does not run", start + seconds{12}));
}

}  // namespace pgcascade::tree
