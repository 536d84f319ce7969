#include "log/wal_name.hpp"

#include <gtest/gtest.h>

namespace pgcascade::log {

namespace {

using Kind = WalFileName::Kind;

constexpr std::uint64_t kMegabyte = std::uint64_t{1} << 20;

}  // namespace

// As pg_walfile_name() calls them, and pg_controldata for a cluster of that --wal-segsize.
TEST(WalName, SegmentsAreCalledAsPostgresCallsThem) {
    const WalDirectory usual{"wal", 16 * kMegabyte};
    EXPECT_EQ(usual.complete_file({{1}, {0x3000000}}), "wal/000000010000000000000003");
    EXPECT_EQ(usual.partial_file({{0x1A}, {0x16'B300'0000}}), "wal/0000001A00000016000000B3.partial");
    EXPECT_EQ(usual.sums_file({{1}, {0x16'FF00'0000}}), "wal/0000000100000016000000FF.sums");
    EXPECT_EQ(usual.history_file({0x1A}), "wal/0000001A.history");
    const WalDirectory small{"wal", kMegabyte};
    EXPECT_EQ(small.complete_file({{1}, {0x16'B370'0000}}), "wal/000000010000001600000B37");
    const WalDirectory large{"wal", 1024 * kMegabyte};
    EXPECT_EQ(large.complete_file({{1}, {0x16'C000'0000}}), "wal/000000010000001600000003");
}

TEST(WalName, NamesComeBack) {
    const WalSegmentNumber segment{.timeline = {0xABCDEF01}, .high = 0x16, .low = 0xB3};
    for (const Kind kind : {Kind::kComplete, Kind::kPartial, Kind::kSums, Kind::kTemporarySums}) {
        const WalFileName name{segment, kind};
        EXPECT_EQ(WalFileName::parse(name.to_string()), name) << name.to_string();
    }
    EXPECT_EQ(parse_history_name("ABCDEF01.history"), TimelineId{0xABCDEF01});
    for (const std::uint64_t bytes : {kMegabyte, 16 * kMegabyte, 1024 * kMegabyte}) {
        const WalDirectory directory{"wal", bytes};
        const WalPosition start{{3}, directory.segment_start({0x16'FFFF'FFFF})};
        EXPECT_EQ(directory.number(start).start(bytes), start);
        EXPECT_EQ(directory.segment_end(start), Lsn{0x17'0000'0000});
    }
}

TEST(WalName, OtherNamesAreNone) {
    for (const char* name :
         {"", "0000000100000000000003", "00000001000000000000000g", "00000001000000000000000a",
          "0000000100000000000000030", "000000010000000000000003.gz.partial",
          "000000010000000000000003.partial.gz", "000000010000000000000003.tmp",
          "000000010000000000000003.00000028.backup", "x000000010000000000000003", "00000002.history"})
        EXPECT_FALSE(WalFileName::parse(name)) << name;
    for (const char* name : {"", ".history", "0000002.history", "0000000g.history", "00000002.history.tmp",
                             "000000002.history", "0000000a.history", "00000002"})
        EXPECT_FALSE(parse_history_name(name)) << name;
}

TEST(WalName, NumberThatNoSegmentOfTheSizeHasIsNone) {
    const WalSegmentNumber last{.timeline = {1}, .high = 0, .low = 0xFF};
    EXPECT_TRUE(last.start(16 * kMegabyte));
    EXPECT_FALSE(last.start(32 * kMegabyte));
    EXPECT_FALSE((WalSegmentNumber{.timeline = {1}, .high = 0, .low = 0x100}.start(16 * kMegabyte)));
    EXPECT_FALSE((WalSegmentNumber{.timeline = {1}, .high = 0, .low = 0xFFFFFFFF}.start(1024 * kMegabyte)));
}

TEST(WalName, SizesAreThoseOfInitdb) {
    for (const std::uint64_t bytes : {kMegabyte, 2 * kMegabyte, 16 * kMegabyte, 1024 * kMegabyte})
        EXPECT_TRUE(is_wal_segment_size(bytes)) << bytes;
    for (const std::uint64_t bytes :
         {std::uint64_t{0}, kMegabyte / 2, 3 * kMegabyte, kMegabyte + 1, 2048 * kMegabyte})
        EXPECT_FALSE(is_wal_segment_size(bytes)) << bytes;
}

TEST(WalName, PositionsAreInTheOrderOfTheLog) {
    EXPECT_LT((WalPosition{{1}, {0x5000000}}), (WalPosition{{2}, {0x4000000}}));
    EXPECT_LT((WalPosition{{2}, {0x4000000}}), (WalPosition{{2}, {0x4000001}}));
    EXPECT_EQ((WalPosition{{2}, {0x16'B374'D848}}).to_string(), "16/B374D848 on timeline 2");
}

}  // namespace pgcascade::log
