#include "base/amount.hpp"

#include <gtest/gtest.h>

namespace pgcascade {

using std::chrono::milliseconds;

TEST(Amount, BytesAreReadAsPostgresqlReadsThem) {
    EXPECT_EQ(parse_bytes("10GB"), std::int64_t{10} << 30);
    EXPECT_EQ(parse_bytes("512 MB"), std::int64_t{512} << 20);
    EXPECT_EQ(parse_bytes("1.5 TB"), std::int64_t{3} << 39);
    EXPECT_EQ(parse_bytes("64kB"), 65536);
    EXPECT_EQ(parse_bytes("0 B"), 0);
    EXPECT_EQ(parse_bytes("0.5 B"), 1);
}

TEST(Amount, DurationsAreReadAsPostgresqlReadsThem) {
    EXPECT_EQ(parse_duration("10s"), milliseconds{10'000});
    EXPECT_EQ(parse_duration("500 ms"), milliseconds{500});
    EXPECT_EQ(parse_duration("1.5 min"), milliseconds{90'000});
    EXPECT_EQ(parse_duration("2h"), milliseconds{7'200'000});
    EXPECT_EQ(parse_duration("1 d"), milliseconds{86'400'000});
    EXPECT_EQ(parse_duration("0s"), milliseconds{0});
}

TEST(Amount, WhatIsNoAmountIsNone) {
    for (const char* text : {"", "10", "GB", "-1 GB", "10 gb", "10 KB", "10 Gb", "10 GB ", " 10 GB", "1e3 GB",
                             "10 GB 1", "0x10 GB", "nan GB", "inf GB", "10 s", "8388608 TB", "1,5 GB"})
        EXPECT_FALSE(parse_bytes(text)) << text;
    for (const char* text : {"", "10", "s", "-1 s", "10 S", "10 sec", "10us", "10 MB", "106751991168 d"})
        EXPECT_FALSE(parse_duration(text)) << text;
}

}  // namespace pgcascade
