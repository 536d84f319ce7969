#include "log/inspection.hpp"

#include <atomic>
#include <fstream>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "log/feed_log.hpp"
#include "unit/log/wal_log_fixture.hpp"

namespace pgcascade::log {

namespace fs = std::filesystem;

using testing::HasSubstr;

namespace {

class InspectionTest : public WalLogTest {
  protected:
    static constexpr std::size_t kEntry = 40;

    // Three a segment.
    static FeedLogOptions small_segments() {
        FeedLogOptions options;
        options.segment_bytes = 100;
        return options;
    }

    static void write_entries(FeedLog& log, int from, int to) {
        for (int number = from; number < to; ++number) {
            log.append(std::string(kEntry, static_cast<char>('a' + number % 26)));
            const Lsn commit{1000 + static_cast<std::uint64_t>(number)};
            log.finish_entry(commit, {commit.value + 1});
            log.flush();
        }
    }

    static void make_feed(const fs::path& directory) {
        fs::create_directories(directory);
        FeedLog log{directory, small_segments()};
        write_entries(log, 0, 10);
        log.sync();
        write_entries(log, 10, 11);
    }

    static void make_wal(const fs::path& directory) {
        fs::create_directories(directory);
        WalLog log{directory, kOptions};
        write(log, at(kSegment + 1000));
        log.sync();
    }

    static std::vector<std::string> logs_in(const fs::path& directory) {
        std::vector<std::string> found;
        for (const LogPlace& place : find_logs(directory))
            found.push_back((place.kind == LogPlace::Kind::kFeed ? "feed " : "wal ") + place.name + " " +
                            place.directory.lexically_relative(directory).string());
        return found;
    }

    static std::string refusal_of(const fs::path& directory) {
        try {
            find_logs(directory);
        } catch (const Error& problem) {
            return problem.what() + std::string{" "} + problem.hint();
        }
        return "";
    }
};

}  // namespace

TEST_F(InspectionTest, LogsOfARelayAreFoundByNameAmongOtherFiles) {
    make_feed(directory_ / "feeds" / "shop");
    make_feed(directory_ / "feeds" / "audit");
    make_wal(directory_ / "wal");
    std::ofstream{directory_ / "lock"};
    std::ofstream{directory_ / "feeds" / "notes"};
    EXPECT_EQ(logs_in(directory_),
              (std::vector<std::string>{"feed audit feeds/audit", "feed shop feeds/shop", "wal wal wal"}));
    EXPECT_EQ(logs_in(directory_ / "feeds" / "shop"), std::vector<std::string>{"feed shop ."});
    EXPECT_EQ(logs_in(directory_ / "feeds" / "shop/"), std::vector<std::string>{"feed shop ."});
    EXPECT_EQ(logs_in(directory_ / "wal"), std::vector<std::string>{"wal wal ."});
}

TEST_F(InspectionTest, DirectoryWithoutALogIsRefusedWithWhatItIs) {
    EXPECT_THAT(refusal_of(directory_), HasSubstr("holds no log name the directory of a relay"));
    EXPECT_THAT(refusal_of(directory_ / "none"), HasSubstr("No such file or directory"));
    std::ofstream{directory_ / "000000010000000000000003"} << "WAL of a server";
    EXPECT_THAT(refusal_of(directory_), HasSubstr("no segment has its checksums"));
    EXPECT_THAT(refusal_of(directory_ / "000000010000000000000003"), HasSubstr("Not a directory"));
    std::ofstream{directory_ / "00000000000000zz.frames"};
    EXPECT_THAT(refusal_of(directory_), HasSubstr("no segment has its checksums"));
}

TEST_F(InspectionTest, InspectionChangesNothingWhateverItFinds) {
    make_feed(directory_);
    std::ofstream{directory_ / "0000000000000190.frames", std::ios::app} << "a torn tail";
    flip_bit(directory_ / "0000000000000078.frames", 3);
    std::ofstream{directory_ / "00000000000001b9.frames"} << "garbage";
    std::ofstream{directory_ / "garbage"} << "garbage";
    const auto before = contents(directory_);
    for (const ScanDepth depth : {ScanDepth::kTail, ScanDepth::kAll}) inspect_feed(directory_, depth);
    EXPECT_EQ(inspect_feed(directory_, ScanDepth::kAll).corruptions.size(), 1U);
    EXPECT_EQ(contents(directory_), before);
}

TEST_F(InspectionTest, EverySegmentIsToldAlikeAtEitherDepth) {
    make_feed(directory_);
    for (const ScanDepth depth : {ScanDepth::kTail, ScanDepth::kAll}) {
        const FeedScan scan = inspect_feed(directory_, depth);
        ASSERT_EQ(scan.segments.size(), 4U);
        for (std::size_t i = 0; i < 4; ++i) {
            const FeedScan::Segment& segment = scan.segments[i];
            EXPECT_EQ(segment.position, FeedPosition{i * 3 * kEntry});
            EXPECT_EQ(segment.end, FeedPosition{std::min<std::uint64_t>(11, i * 3 + 3) * kEntry});
            EXPECT_EQ(segment.entries, i < 3 ? 3U : 2U);
            EXPECT_EQ(segment.first->commit_lsn, Lsn{1000 + i * 3});
            EXPECT_EQ(segment.last->commit_lsn, Lsn{1000 + std::min<std::uint64_t>(10, i * 3 + 2)});
        }
    }
}

TEST_F(InspectionTest, LastEntriesAreThoseAtTheEndInOrder) {
    make_feed(directory_);
    const FeedScan scan = inspect_feed(directory_, ScanDepth::kTail);
    for (const std::size_t limit : {1, 2, 3, 5, 11, 100}) {
        const std::vector<FeedEntry> entries = last_entries(directory_, scan, limit);
        ASSERT_EQ(entries.size(), std::min<std::size_t>(limit, 11));
        for (std::size_t i = 0; i < entries.size(); ++i)
            EXPECT_EQ(entries[i].commit_lsn, Lsn{1000 + 11 - entries.size() + i});
    }
    flip_bit(directory_ / "0000000000000000.index", 40);
    EXPECT_EQ(last_entries(directory_, scan, 8).size(), 8U);
    EXPECT_THROW(last_entries(directory_, scan, 11), LogCorrupt);
}

TEST_F(InspectionTest, WhoeverWatchesTheReadingCanEndIt) {
    make_feed(directory_ / "feeds" / "shop");
    make_wal(directory_ / "wal");
    std::uint64_t bytes = 0;
    const auto count = [&](std::uint64_t more) { bytes += more; };
    inspect_feed(directory_ / "feeds" / "shop", ScanDepth::kAll, count);
    EXPECT_EQ(bytes, 11 * kEntry);
    bytes = 0;
    inspect_wal(directory_ / "wal", ScanDepth::kAll, count);
    EXPECT_EQ(bytes, kSegment + 1000);
    const auto stop = [](std::uint64_t /*bytes*/) { throw Stopped{}; };
    EXPECT_THROW(inspect_feed(directory_ / "feeds" / "shop", ScanDepth::kAll, stop), Stopped);
    EXPECT_THROW(inspect_wal(directory_ / "wal", ScanDepth::kAll, stop), Stopped);
}

// -- Beside a relay --

TEST_F(InspectionTest, FeedThatIsWrittenAndRemovedMeanwhileIsNotCorrupt) {
    FeedLog log{directory_, small_segments()};
    std::atomic<bool> is_over{false};
    std::thread working{[&] {
        for (int number = 0; number < 2000; ++number) {
            write_entries(log, number, number + 1);
            if (number % 7 == 0) {
                log.append("of an entry that is broken off");
                log.flush();
                log.abandon_entry();
            }
            if (number % 5 == 0) {
                const FeedPosition end = log.sync();
                log.remove_before({end.value - std::min<std::uint64_t>(end.value, 500)});
            }
        }
        is_over = true;
    }};
    std::size_t looks = 0;
    for (; !is_over; ++looks)
        for (const ScanDepth depth : {ScanDepth::kTail, ScanDepth::kAll}) {
            const FeedScan scan = inspect_feed(directory_, depth);
            EXPECT_TRUE(scan.corruptions.empty()) << scan.corruptions.front().to_string();
            last_entries(directory_, scan, 5);
        }
    working.join();
    EXPECT_GT(looks, 10U);
}

TEST_F(InspectionTest, WalThatIsWrittenAndRemovedMeanwhileIsNotCorrupt) {
    WalLog log{directory_, kOptions};
    log.begin_at(kFirst, kStart);
    std::atomic<bool> is_over{false};
    std::thread working{[&] {
        for (std::uint64_t bytes = 0; bytes < 30 * kSegment; bytes += 300'011) {
            write(log, at(bytes + 300'011));
            log.remove_before(log.sync().lsn);
        }
        is_over = true;
    }};
    std::size_t looks = 0;
    for (; !is_over; ++looks) {
        const WalScan scan = inspect_wal(directory_, ScanDepth::kAll);
        EXPECT_TRUE(scan.corruptions.empty()) << scan.corruptions.front().to_string();
    }
    working.join();
    EXPECT_GT(looks, 5U);
}

}  // namespace pgcascade::log
