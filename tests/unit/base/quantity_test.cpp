#include "base/quantity.hpp"

#include <limits>

#include <gtest/gtest.h>

namespace pgcascade {

using std::chrono::milliseconds;

TEST(FormatBytes, TakesTheLargestUnitThatFits) {
    EXPECT_EQ(format_bytes(0), "0 B");
    EXPECT_EQ(format_bytes(1023), "1023 B");
    EXPECT_EQ(format_bytes(1024), "1 kB");
    EXPECT_EQ(format_bytes(1536), "1.5 kB");
    EXPECT_EQ(format_bytes(16 * 1024 * 1024), "16 MB");
    EXPECT_EQ(format_bytes(1024 * 1024 - 1), "1 MB");
    EXPECT_EQ(format_bytes(-2048), "-2 kB");
    EXPECT_EQ(format_bytes(std::numeric_limits<std::int64_t>::max()), "8192 PB");
}

TEST(FormatDuration, TellsTheTwoLargestUnits) {
    EXPECT_EQ(format_duration(milliseconds{0}), "0 ms");
    EXPECT_EQ(format_duration(milliseconds{999}), "999 ms");
    EXPECT_EQ(format_duration(milliseconds{1'200}), "1 s");
    EXPECT_EQ(format_duration(milliseconds{60'000}), "1 min");
    EXPECT_EQ(format_duration(milliseconds{725'000}), "12 min 5 s");
    EXPECT_EQ(format_duration(std::chrono::hours{76} + std::chrono::minutes{5}), "3 d 4 h");
}

}  // namespace pgcascade
