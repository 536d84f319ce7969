#include <cstdint>

#include "unit/log/feed_log_fixture.hpp"
#include "unit/log/flaw_names.hpp"

namespace pgcascade::log {

using testing::HasSubstr;
using testing::StartsWith;

// -- After a crash --

TEST_F(FeedLogTest, TornFramesAreDroppedAtEveryByte) {
    for (std::uint64_t left = 0; left < 40; ++left) {
        const TemporaryDirectory temporary;
        {
            FeedLog log{temporary.path()};
            for (int number = 0; number < 3; ++number) write_entry(log, number);
        }
        fs::resize_file(FeedSegment::frames_file(temporary.path(), {0}), 80 + left);
        FeedLog log{temporary.path()};
        ASSERT_TRUE(log.cut()) << left;
        EXPECT_EQ(log.finished(), FeedPosition{80});
        EXPECT_EQ(log.last()->commit_lsn, commit_lsn(1));
        write_entry(log, 2);
        EXPECT_EQ(read_all(log), all_frames(0, 3));
    }
}

TEST_F(FeedLogTest, TornIndexIsDroppedAtEveryByte) {
    std::uint64_t index_bytes = 0;
    for (std::uint64_t missing = 1; missing <= kFeedEntryBytes; ++missing) {
        const TemporaryDirectory temporary;
        const fs::path index = FeedSegment::index_file(temporary.path(), {0});
        {
            FeedLog log{temporary.path()};
            for (int number = 0; number < 3; ++number) write_entry(log, number);
        }
        index_bytes = fs::file_size(index);
        fs::resize_file(index, index_bytes - missing);
        FeedLog log{temporary.path()};
        ASSERT_TRUE(log.cut()) << missing;
        EXPECT_EQ(log.cut()->bytes, 40U);
        EXPECT_EQ(log.finished(), FeedPosition{80});
        write_entry(log, 2);
        EXPECT_EQ(read_all(log), all_frames(0, 3));
        EXPECT_EQ(fs::file_size(index), index_bytes);
    }
}

// A file system may have given a file its length, but not yet its bytes.
TEST_F(FeedLogTest, TailOfZeroesIsDropped) {
    {
        FeedLog log{directory_};
        for (int number = 0; number < 3; ++number) write_entry(log, number);
    }
    const std::uint64_t index_bytes = fs::file_size(index_file(0));
    fs::resize_file(frames_file(0), 80);
    fs::resize_file(frames_file(0), 120);
    fs::resize_file(index_file(0), index_bytes - kFeedEntryBytes);
    fs::resize_file(index_file(0), index_bytes);
    FeedLog log{directory_};
    EXPECT_EQ(log.finished(), FeedPosition{80});
    EXPECT_EQ(read_all(log), all_frames(0, 2));
}

TEST_F(FeedLogTest, SegmentsThatWereNeverSyncedMayBeMissing) {
    for (const bool with_index : {false, true}) {
        for (const bool with_frames : {false, true}) {
            const TemporaryDirectory temporary;
            {
                FeedLog log{temporary.path(), small_segments()};
                for (int number = 0; number < 10; ++number) write_entry(log, number);
            }
            if (!with_index) fs::remove(FeedSegment::index_file(temporary.path(), {240}));
            if (!with_frames) fs::resize_file(FeedSegment::frames_file(temporary.path(), {240}), 0);
            FeedLog log{temporary.path(), small_segments()};
            const int whole = with_index && with_frames ? 10 : 6;
            EXPECT_EQ(read_all(log), all_frames(0, whole));
            EXPECT_EQ(log.cut().has_value(), whole < 10);
            for (int number = whole; number < 10; ++number) write_entry(log, number);
            EXPECT_EQ(read_all(FeedLog{temporary.path()}), all_frames(0, 10));
        }
    }
}

// A file system may have forgotten that an entry was cut away, and know what was written after it.
TEST_F(FeedLogTest, RestOfAnAbandonedEntryIsCutAwayOnceMore) {
    {
        FeedLog log{directory_};
        write_entry(log, 0);
        log.append(frames_of(7, 100));
        log.flush();
        log.abandon_entry();
        write_entry(log, 1);
    }
    fs::resize_file(frames_file(0), 140);
    const FeedLog log{directory_};
    EXPECT_EQ(log.segment_at({0})->end(), FeedPosition{40});
    EXPECT_EQ(read_all(log), all_frames(0, 2));
    EXPECT_FALSE(FeedLog{directory_}.cut());
}

TEST_F(FeedLogTest, LogThatIsCutBackToASettledSegmentKeepsItsEntries) {
    {
        FeedLog log{directory_, small_segments()};
        for (int number = 0; number < 3; ++number) write_entry(log, number);
        log.sync();
        for (int number = 3; number < 8; ++number) write_entry(log, number);
    }
    flip_bit(index_file(120), 3);
    {
        FeedLog log{directory_, small_segments()};
        EXPECT_TRUE(log.cut());
        EXPECT_EQ(read_all(log), all_frames(0, 3));
        EXPECT_EQ(log.last()->commit_lsn, commit_lsn(2));
        write_entry(log, 3);
    }
    EXPECT_EQ(read_all(FeedLog{directory_}), all_frames(0, 4));
}

// -- Damage that no crash does --

class DamagedFeedLogTest : public FeedLogTest {
  protected:
    // Entries 0 to 8 in segments of three, on disk; entry 9, written after that, says so.
    DamagedFeedLogTest() {
        FeedLog log{directory_, small_segments()};
        for (int number = 0; number < 9; ++number) write_entry(log, number);
        log.sync();
        write_entry(log, 9);
    }

    std::string refusal() const {
        try {
            const FeedLog log{directory_, small_segments()};
        } catch (const LogCorrupt& problem) {
            return problem.what();
        }
        return "";
    }

    std::string found_by_reading_all() const {
        const FeedScan scan = scan_feed(directory_, ScanDepth::kAll);
        return scan.corruptions.empty() ? "" : scan.corruptions.front().to_string();
    }
};

TEST_F(DamagedFeedLogTest, WholeLogIsNone) {
    EXPECT_EQ(refusal(), "");
    EXPECT_EQ(found_by_reading_all(), "");
    const FeedScan scan = scan_feed(directory_, ScanDepth::kAll);
    EXPECT_EQ(scan.entries_scanned, 10U);
    EXPECT_EQ(scan.durable, FeedPosition{360});
    EXPECT_FALSE(scan.torn);
}

TEST_F(DamagedFeedLogTest, FlippedBitIsFoundAtEveryByteWithFileAndOffset) {
    for (const std::uint64_t position : {0, 120, 240}) {
        for (std::uint64_t offset = 0; offset < 120; ++offset) {
            flip_bit(frames_file(position), offset);
            const std::string expected =
                frames_file(position).string() + ", offset " + std::to_string(offset / 40 * 40);
            EXPECT_THAT(found_by_reading_all(), HasSubstr(expected));
            flip_bit(frames_file(position), offset);
        }
        for (std::uint64_t offset = 0; offset < fs::file_size(index_file(position)); ++offset) {
            flip_bit(index_file(position), offset);
            EXPECT_THAT(found_by_reading_all(), HasSubstr(index_file(position).string() + ", offset "));
            flip_bit(index_file(position), offset);
        }
    }
    EXPECT_EQ(found_by_reading_all(), "");
}

TEST_F(DamagedFeedLogTest, SegmentThatIsMissingIsRefused) {
    fs::remove(frames_file(120));
    fs::remove(index_file(120));
    EXPECT_THAT(refusal(), HasSubstr(frames_file(120).string() + ", offset 0: the segment that begins here"));
}

TEST_F(DamagedFeedLogTest, FileThatIsMissingIsRefused) {
    fs::remove(index_file(240));
    EXPECT_THAT(refusal(), HasSubstr(index_file(240).string() + ", offset 0: the file is missing"));
}

// The mark that says so stands in the damaged segment itself.
TEST_F(FeedLogTest, OnlySegmentThatIsDamagedIsRefusedAtEveryByte) {
    {
        FeedLog log{directory_, {.preamble = [] { return std::string(70, 'p'); }}};
        for (int number = 0; number < 3; ++number) write_entry(log, number);
        log.sync();
        write_entry(log, 3);
    }
    const std::uint64_t settled = 32 + 70 + 3 * kFeedEntryBytes;
    for (std::uint64_t offset = 0; offset < settled; ++offset) {
        flip_bit(index_file(0), offset);
        EXPECT_THROW(FeedLog{directory_}, LogCorrupt) << offset;
        flip_bit(index_file(0), offset);
    }
    fs::rename(frames_file(0), directory_ / "elsewhere");
    EXPECT_THROW(FeedLog{directory_}, LogCorrupt);
    fs::rename(directory_ / "elsewhere", frames_file(0));
    EXPECT_EQ(read_all(FeedLog{directory_}), all_frames(0, 4));
}

// It was on disk before the first frame was: nothing else says so here.
TEST_F(FeedLogTest, HeaderOfTheFirstSegmentIsNeverATornTail) {
    {
        FeedLog log{directory_};
        write_entry(log, 0);
    }
    flip_bit(index_file(0), 9);
    EXPECT_THROW(FeedLog{directory_}, LogCorrupt);
    fs::remove(index_file(0));
    EXPECT_THROW(FeedLog{directory_}, LogCorrupt);
    fs::resize_file(frames_file(0), 0);
    FeedLog log{directory_};
    EXPECT_EQ(log.finished(), FeedPosition{0});
    write_entry(log, 0);
    EXPECT_EQ(read_all(FeedLog{directory_}), frames_of(0));
}

TEST_F(DamagedFeedLogTest, OnlyTheFirstSegmentCanBeOneThatWasBeingRemoved) {
    fs::remove(index_file(0));
    EXPECT_EQ(refusal(), "");
    fs::remove(index_file(120));
    fs::remove(frames_file(240));
    EXPECT_THAT(refusal(), HasSubstr(index_file(120).string() + ", offset 0: the file is missing"));
    EXPECT_THAT(found_by_reading_all(), HasSubstr(index_file(120).string() + ", offset 0"));
}

TEST_F(DamagedFeedLogTest, SegmentThatIsCutShortIsRefused) {
    fs::resize_file(frames_file(120), 119);
    EXPECT_THAT(refusal(), HasSubstr("though it was on disk"));
    EXPECT_THAT(found_by_reading_all(), HasSubstr(frames_file(120).string() + ", offset 80"));
}

TEST_F(DamagedFeedLogTest, IndexThatIsCutShortIsNamed) {
    for (std::uint64_t bytes = fs::file_size(index_file(120)); bytes-- > 0;) {
        fs::resize_file(index_file(120), bytes);
        EXPECT_THAT(found_by_reading_all(), HasSubstr(index_file(120).string() + ", offset ")) << bytes;
    }
}

TEST_F(DamagedFeedLogTest, BytesBetweenSegmentsAreNamed) {
    fs::resize_file(frames_file(120), 121);
    EXPECT_EQ(found_by_reading_all(),
              frames_file(120).string() + ", offset 120: what follows here belongs to no entry");
    EXPECT_NE(refusal(), "");
}

TEST_F(DamagedFeedLogTest, ReadingAllNamesEveryCorruptionAndTheTornTail) {
    const auto found = [&] { return flaw_names(scan_feed(directory_, ScanDepth::kAll)); };
    flip_bit(frames_file(0), 5);
    flip_bit(frames_file(0), 85);
    flip_bit(index_file(240), 32 + kFeedEntryBytes + 3);
    flip_bit(frames_file(360), 0);
    const std::string zero = frames_file(0).filename().string();
    const std::string last = "torn " + frames_file(360).filename().string();
    const std::string entry = index_file(240).filename().string() + " 84";
    EXPECT_EQ(found(), (std::vector{zero + " 0", zero + " 80", entry, last}));
    fs::remove(frames_file(120));
    fs::remove(index_file(120));
    EXPECT_EQ(found(), (std::vector{zero + " 0", zero + " 80", frames_file(120).filename().string() + " 0",
                                    entry, last}));
    EXPECT_EQ(scan_feed(directory_, ScanDepth::kAll).entries_scanned, 3U);
    flip_bit(index_file(0), 3);
    EXPECT_EQ(found(), (std::vector{index_file(0).filename().string() + " 0", entry, last}));
}

// Once the tail is cut off, nothing would tell any more that the rest was on disk.
TEST_F(DamagedFeedLogTest, DamageIsFoundBeforeTheMarkThatTellsItIsCutOff) {
    flip_bit(index_file(360), 3);
    flip_bit(frames_file(120), 50);
    EXPECT_THAT(refusal(), HasSubstr(frames_file(120).string() + ", offset 40: the frames of an entry"));
    flip_bit(frames_file(120), 50);
    EXPECT_EQ(refusal(), "");
}

TEST_F(DamagedFeedLogTest, RefusalChangesNothing) {
    flip_bit(index_file(240), 3);
    const std::string before = read_file(index_file(240)) + read_file(frames_file(240));
    EXPECT_NE(refusal(), "");
    EXPECT_EQ(read_file(index_file(240)) + read_file(frames_file(240)), before);
}

}  // namespace pgcascade::log
