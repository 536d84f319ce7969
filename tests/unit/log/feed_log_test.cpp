#include "log/feed_log.hpp"

#include <csignal>
#include <fstream>
#include <map>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <pgcascade/error.hpp>

#include "base/file.hpp"
#include "log/feed_scan.hpp"
#include "unit/log/killed_at_call.hpp"
#include "unit/temporary_directory.hpp"

namespace pgcascade::log {

namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::StartsWith;

class FeedLogTest : public testing::Test {
  protected:
    static FeedLogOptions small_segments() {
        FeedLogOptions options;
        options.segment_bytes = 100;
        return options;
    }

    static std::string frames_of(int number, std::size_t bytes = 40) {
        std::string frames = std::to_string(number) + ":";
        frames.resize(bytes, static_cast<char>('a' + number % 26));
        return frames;
    }

    static Lsn commit_lsn(int number) { return Lsn{1000 + 10 * static_cast<std::uint64_t>(number)}; }

    static void write_entry(FeedLog& log, int number, std::size_t bytes = 40) {
        log.append(frames_of(number, bytes));
        log.finish_entry(commit_lsn(number), Lsn{commit_lsn(number).value + 5});
        log.flush();
    }

    static void write_keepalive(FeedLog& log, Lsn position) {
        log.append("keepalive ");
        log.finish_entry(position, position, FeedEntry::kIsKeepalive);
        log.flush();
    }

    static std::string read_all(const FeedLog& log) {
        std::string frames;
        for (FeedPosition at = log.begin(); at < log.finished();) {
            const auto segment = log.segment_at(at);
            const std::string file = read_file(segment->frames_file());
            const FeedPosition end = std::min(log.finished(), segment->end());
            frames += file.substr(bytes_between(segment->position(), at), bytes_between(at, end));
            at = end;
        }
        return frames;
    }

    static std::string all_frames(int from, int to) {
        std::string frames;
        for (int number = from; number < to; ++number) frames += frames_of(number);
        return frames;
    }

    fs::path frames_file(std::uint64_t position) const {
        return FeedSegment::frames_file(directory_, {position});
    }
    fs::path index_file(std::uint64_t position) const {
        return FeedSegment::index_file(directory_, {position});
    }

    static void flip_bit(const fs::path& file, std::uint64_t offset) {
        std::fstream stream{file, std::ios::in | std::ios::out | std::ios::binary};
        stream.seekg(static_cast<std::streamoff>(offset));
        const int byte = stream.get();
        stream.seekp(static_cast<std::streamoff>(offset));
        stream.put(static_cast<char>(byte ^ 0x10));
    }

    const TemporaryDirectory temporary_;
    const fs::path directory_ = temporary_.path();
};

}  // namespace

TEST_F(FeedLogTest, EntriesAreReadAsTheyWereWritten) {
    FeedLog log{directory_, small_segments()};
    for (int number = 0; number < 10; ++number) write_entry(log, number);
    EXPECT_EQ(read_all(log), all_frames(0, 10));
    EXPECT_EQ(log.finished(), FeedPosition{400});
    EXPECT_EQ(log.last()->commit_lsn, commit_lsn(9));
}

TEST_F(FeedLogTest, EntryUnderWayIsReadableButNotFinished) {
    FeedLog log{directory_};
    write_entry(log, 0);
    log.append(frames_of(1));
    EXPECT_EQ(log.readable(), FeedPosition{40});
    log.flush();
    EXPECT_EQ(log.readable(), FeedPosition{80});
    EXPECT_EQ(log.finished(), FeedPosition{40});
}

TEST_F(FeedLogTest, AbandonedEntryLeavesNoTrace) {
    FeedLog log{directory_, small_segments()};
    write_entry(log, 0);
    log.append(frames_of(7, 500));
    log.flush();
    log.append("more");
    log.abandon_entry();
    EXPECT_EQ(log.readable(), FeedPosition{40});
    write_entry(log, 1);
    log.append("gathered only");
    log.abandon_entry();
    write_entry(log, 2);
    EXPECT_EQ(read_all(log), all_frames(0, 3));
    EXPECT_FALSE(FeedLog(directory_).cut());
}

TEST_F(FeedLogTest, AbandoningKeepsFinishedEntriesThatAreGathered) {
    FeedLog log{directory_};
    log.append(frames_of(0));
    log.finish_entry(commit_lsn(0), commit_lsn(0));
    log.append("half of one");
    log.abandon_entry();
    log.flush();
    EXPECT_EQ(read_all(log), frames_of(0));
}

TEST_F(FeedLogTest, WhoReadAnAbandonedEntryNeverFindsOtherBytesInItsPlace) {
    for (const int whole : {0, 1}) {  // whether the segment that ends holds anything
        const TemporaryDirectory temporary;
        FeedLog log{temporary.path()};
        for (int number = 0; number < whole; ++number) write_entry(log, number);
        const FeedPosition begin = log.finished();
        log.append(frames_of(7, 100));
        log.flush();
        const auto held = log.segment_at(begin);
        EXPECT_EQ(log.abandoned(), 0U);
        log.abandon_entry();
        EXPECT_EQ(log.abandoned(), 1U);
        EXPECT_EQ(log.readable(), begin);
        log.append(frames_of(8, 100));
        log.finish_entry(commit_lsn(8), commit_lsn(8));
        log.flush();
        EXPECT_EQ(held->end(), begin);
        EXPECT_NE(log.segment_at(begin), held);
        EXPECT_EQ(read_all(log), all_frames(0, whole) + frames_of(8, 100));
        EXPECT_FALSE(FeedLog(temporary.path()).cut());
    }
}

TEST_F(FeedLogTest, WhatIsGatheredBeforeItsSegmentBeginsIsFoundInThere) {
    FeedLog log{directory_};
    write_entry(log, 0);
    log.append(frames_of(7, 100));
    log.flush();
    log.abandon_entry();
    for (int number = 1; number < 4; ++number) {
        log.append(frames_of(number));
        log.finish_entry(commit_lsn(number), commit_lsn(number));
    }
    log.flush();
    EXPECT_EQ(log.segment_at({40})->header().after, commit_lsn(0));
    for (int number = 0; number < 4; ++number)
        EXPECT_EQ(log.find(commit_lsn(number)), FeedPosition{40 * static_cast<std::uint64_t>(number)});
}

TEST_F(FeedLogTest, EntryBeforeIsTheLastOneThatIsWholeThere) {
    FeedLog log{directory_, small_segments()};  // three a segment
    EXPECT_FALSE(log.entry_before(log.finished()));
    for (int number = 0; number < 7; ++number) write_entry(log, number);
    log.append("under way");
    log.flush();
    EXPECT_FALSE(log.entry_before({39}));
    for (std::uint64_t at = 40; at < 290; ++at) {
        const auto entry = log.entry_before({at});
        ASSERT_TRUE(entry) << at;
        EXPECT_EQ(entry->commit_lsn, commit_lsn(static_cast<int>(at / 40) - 1)) << at;
    }
}

TEST_F(FeedLogTest, LogGoesOnWhereItEnded) {
    for (int number = 0; number < 12; ++number) {
        FeedLog log{directory_, small_segments()};
        EXPECT_FALSE(log.cut());
        EXPECT_EQ(log.finished(), FeedPosition{40 * static_cast<std::uint64_t>(number)});
        write_entry(log, number);
    }
    EXPECT_EQ(read_all(FeedLog{directory_}), all_frames(0, 12));
}

TEST_F(FeedLogTest, EntryIsNeverSplitHoweverLarge) {
    FeedLog log{directory_, small_segments()};
    write_entry(log, 0, 1000);
    write_entry(log, 1, 10);
    EXPECT_EQ(log.segment_at({999})->position(), FeedPosition{0});
    EXPECT_EQ(log.segment_at({1000})->position(), FeedPosition{1000});
}

TEST_F(FeedLogTest, EachSegmentBeginsWithItsPreamble) {
    int segments = 0;
    FeedLogOptions options = small_segments();
    options.preamble = [&segments] { return "relations of segment " + std::to_string(segments++); };
    {
        FeedLog log{directory_, options};
        for (int number = 0; number < 4; ++number) write_entry(log, number);
    }
    const FeedLog log{directory_};
    EXPECT_EQ(log.segment_at({0})->header().preamble, "relations of segment 0");
    EXPECT_EQ(log.segment_at({120})->header().preamble, "relations of segment 1");
}

TEST_F(FeedLogTest, FindGivesTheFirstEntryThatIsNotSkipped) {
    FeedLog log{directory_, small_segments()};
    for (int number = 0; number < 10; ++number) write_entry(log, number);
    EXPECT_EQ(log.find(Lsn{}), FeedPosition{0});
    EXPECT_EQ(log.find(Lsn{1}), FeedPosition{0});
    for (int number = 0; number < 10; ++number) {
        const std::uint64_t begin = 40 * static_cast<std::uint64_t>(number);
        EXPECT_EQ(log.find(commit_lsn(number)), FeedPosition{begin});
        EXPECT_EQ(log.find(Lsn{commit_lsn(number).value + 1}), FeedPosition{begin + 40});
    }
    EXPECT_EQ(log.find(Lsn{~std::uint64_t{0}}), log.finished());
}

TEST_F(FeedLogTest, RemovedSegmentsAreGoneButStayReadableForWhoHoldsThem) {
    FeedLog log{directory_, small_segments()};
    for (int number = 0; number < 10; ++number) write_entry(log, number);
    const auto held = log.segment_at({0});
    log.sync();
    log.remove_before(FeedPosition{200});
    EXPECT_EQ(log.begin(), FeedPosition{120});
    EXPECT_EQ(log.segment_at({0}), nullptr);
    EXPECT_EQ(held->end(), FeedPosition{120});
    EXPECT_EQ(log.find(Lsn{}), FeedPosition{120});
    EXPECT_FALSE(fs::exists(frames_file(0)));
    const FeedLog again{directory_};
    EXPECT_EQ(again.begin(), FeedPosition{120});
    EXPECT_EQ(read_all(again), all_frames(3, 10));
}

TEST_F(FeedLogTest, NothingIsRemovedBeforeWhatFollowsIsOnDisk) {
    FeedLog log{directory_, small_segments()};
    for (int number = 0; number < 10; ++number) write_entry(log, number);
    log.remove_before(log.finished());
    EXPECT_EQ(log.begin(), FeedPosition{0});
    log.sync();
    log.remove_before(log.finished());
    EXPECT_EQ(log.begin(), FeedPosition{360});
}

TEST_F(FeedLogTest, SegmentThatWasRemovedHalfIsNoDamage) {
    {
        FeedLog log{directory_, small_segments()};
        for (int number = 0; number < 10; ++number) write_entry(log, number);
        log.sync();
        write_entry(log, 10);
    }
    fs::remove(index_file(0));
    const FeedLog log{directory_};
    EXPECT_EQ(log.begin(), FeedPosition{120});
    EXPECT_FALSE(fs::exists(frames_file(0)));
}

TEST_F(FeedLogTest, SyncTellsWhatIsOnDisk) {
    FeedLog log{directory_, small_segments()};
    for (int number = 0; number < 5; ++number) write_entry(log, number);
    log.append("of an entry under way");
    log.flush();
    EXPECT_EQ(log.durable(), FeedPosition{0});
    EXPECT_EQ(log.sync(), FeedPosition{200});
    EXPECT_EQ(log.durable(), FeedPosition{200});
}

TEST_F(FeedLogTest, LongLogKeepsFewFilesOpen) {
    const auto open_files = [] {
        return std::distance(fs::directory_iterator{"/proc/self/fd"}, fs::directory_iterator{});
    };
    const auto before = open_files();
    FeedLog log{directory_, small_segments()};
    for (int number = 0; number < 300; ++number) write_entry(log, number);
    log.sync();
    EXPECT_EQ(read_all(log), all_frames(0, 300));
    EXPECT_LT(open_files(), before + 10);
    const FeedLog again{directory_};
    EXPECT_LT(open_files(), before + 10);
}

TEST_F(FeedLogTest, ReadersAndSyncRunBesideTheWriter) {
    constexpr int kEntries = 500;
    FeedLog log{directory_, small_segments()};
    const FeedPosition end{40 * kEntries};
    std::thread syncing{[&] {
        while (log.sync() < end) std::this_thread::yield();
    }};
    std::string frames;
    std::thread reading{[&] {
        for (FeedPosition at; at < end;) {
            const FeedPosition readable = log.readable();
            const auto segment = log.segment_at(at);
            std::string buffer(std::min<std::uint64_t>(64, bytes_between(at, readable)), '\0');
            const ssize_t count = ::pread(segment->frames_fd(), buffer.data(), buffer.size(),
                                          static_cast<off_t>(bytes_between(segment->position(), at)));
            ASSERT_GE(count, 0);
            frames.append(buffer, 0, static_cast<std::size_t>(count));
            at = at + static_cast<std::uint64_t>(count);
            log.find(commit_lsn(static_cast<int>(at.value / 40)));
        }
    }};
    for (int number = 0; number < kEntries; ++number) write_entry(log, number);
    reading.join();
    syncing.join();
    EXPECT_EQ(frames, all_frames(0, kEntries));
    EXPECT_EQ(log.durable(), end);
}

// -- Retention and what the log knows of itself --

TEST_F(FeedLogTest, RetentionLeavesTheLastEntryThoughNothingFollowsIt) {
    {
        FeedLog log{directory_, small_segments()};
        for (int number = 0; number < 3; ++number) write_entry(log, number);
        EXPECT_EQ(log.segment_at(log.finished())->entries(), 0U);
        log.sync();
        log.remove_before(log.finished());
        EXPECT_EQ(log.begin(), FeedPosition{0});
    }
    FeedLog log{directory_, small_segments()};
    ASSERT_TRUE(log.last());
    EXPECT_EQ(log.last()->commit_lsn, commit_lsn(2));
    EXPECT_EQ(log.finished(), FeedPosition{120});
    write_entry(log, 3);
    log.remove_before(log.finished());
    EXPECT_EQ(log.begin(), FeedPosition{0});
    log.sync();
    log.remove_before(log.finished());
    EXPECT_EQ(log.begin(), FeedPosition{120});
    EXPECT_EQ(FeedLog(directory_).last()->commit_lsn, commit_lsn(3));
}

TEST_F(FeedLogTest, SameTransactionCantComeTwiceButAfterAKeepaliveThatSaidAsMuch) {
    FeedLog log{directory_};
    const auto finish = [&](Lsn commit) {
        log.append(frames_of(1));
        log.finish_entry(commit, {commit.value + 5});
    };
    finish(commit_lsn(1));
    EXPECT_THROW(finish(commit_lsn(1)), Error);
    log.abandon_entry();
    EXPECT_THROW(finish(commit_lsn(0)), Error);
    log.abandon_entry();
    write_keepalive(log, commit_lsn(2));
    finish(commit_lsn(2));
    EXPECT_THROW(finish(commit_lsn(2)), Error);
    log.abandon_entry();
    log.flush();
    EXPECT_EQ(read_all(log), frames_of(1) + "keepalive " + frames_of(1));
}

TEST_F(FeedLogTest, FlushThatFailedLosesNothing) {
    ::signal(SIGXFSZ, SIG_IGN);
    rlimit before{};
    ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
    for (rlim_t room = 28; room < 600; room += 13) {  // in the frames or in the index
        const TemporaryDirectory temporary;
        FeedLog log{temporary.path()};
        for (int number = 0; number < 5; ++number) {
            log.append(frames_of(number, 90));
            log.finish_entry(commit_lsn(number), commit_lsn(number));
        }
        log.append(frames_of(5, 90));
        const rlimit small{room, before.rlim_max};
        ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
        const bool has_room = room >= 540;
        if (has_room)
            log.flush();
        else
            EXPECT_THROW(log.flush(), SystemError) << room;
        ::setrlimit(RLIMIT_FSIZE, &before);
        EXPECT_LE(log.finished(), log.readable());
        log.flush();
        log.finish_entry(commit_lsn(5), commit_lsn(5));
        log.flush();
        std::string all;
        for (int number = 0; number < 6; ++number) all += frames_of(number, 90);
        ASSERT_EQ(read_all(log), all) << room;
        ASSERT_EQ(read_all(FeedLog{temporary.path()}), all) << room;
    }
}

// -- Cutting back --

class CutBackFeedLogTest : public FeedLogTest {
  protected:
    // Entries of 40 bytes, three a segment, with the LSNs of their numbers.
    static void write_entries(FeedLog& log, int from, int to) {
        for (int number = from; number < to; ++number) write_entry(log, number);
    }

    static Lsn end_of(int number) { return {commit_lsn(number).value + 5}; }

    // What other timelines have in their place.
    static void write_other(FeedLog& log, int number) {
        log.append(other_frames(number));
        log.finish_entry(commit_lsn(number), end_of(number));
        log.flush();
    }

    static std::string other_frames(int number) { return "another " + frames_of(number, 32); }

    static std::map<std::string, std::string> contents(const fs::path& directory) {
        std::map<std::string, std::string> found;
        for (const auto& file : fs::directory_iterator{directory})
            found[file.path().filename().string()] = read_file(file.path());
        return found;
    }

    static void expect_whole(const fs::path& directory) {
        const FeedScan scan = scan_feed(directory, ScanDepth::kAll);
        ASSERT_TRUE(scan.corruptions.empty()) << scan.corruptions.front().to_string();
    }
};

TEST_F(CutBackFeedLogTest, LogEndsWithTheLastEntryThatIsNotBeyond) {
    for (int kept = 0; kept <= 10; ++kept)
        for (const bool is_synced : {false, true})
            for (const bool is_under_way : {false, true}) {
                const TemporaryDirectory temporary;
                const FeedPosition end{40 * static_cast<std::uint64_t>(kept)};
                {
                    FeedLog log{temporary.path(), small_segments()};
                    write_entries(log, 0, 10);
                    if (is_synced) log.sync();
                    if (is_under_way) log.append("of a transaction under way");
                    if (is_under_way) log.flush();
                    log.cut_back(commit_lsn(kept));
                    EXPECT_EQ(log.finished(), end);
                    EXPECT_EQ(log.readable(), end);
                    EXPECT_EQ(log.durable(), end);
                    EXPECT_EQ(log.last().has_value(), kept > 0);
                    EXPECT_EQ(log.cuts(), 1U);
                    EXPECT_EQ(read_all(log), all_frames(0, kept));
                    expect_whole(temporary.path());
                    for (int number = kept; number < 12; ++number) write_other(log, number);
                    log.sync();
                }
                FeedLog log{temporary.path(), small_segments()};
                EXPECT_FALSE(log.cut());
                std::string all = all_frames(0, kept);
                for (int number = kept; number < 12; ++number) all += other_frames(number);
                EXPECT_EQ(read_all(log), all);
                expect_whole(temporary.path());
            }
}

TEST_F(CutBackFeedLogTest, WhatLiesBeyondIsTold) {
    FeedLog log{directory_, small_segments()};
    write_entries(log, 0, 2);
    write_keepalive(log, end_of(2));
    write_entries(log, 3, 8);
    write_keepalive(log, end_of(8));
    const auto told = [&](Lsn end) {
        const FeedLog::Beyond found = log.beyond(end);
        return std::tuple{found.bytes, found.transactions, found.first_end};
    };
    EXPECT_EQ(told(end_of(8)), std::tuple(0U, 0U, Lsn{}));
    EXPECT_EQ(told(end_of(7)), std::tuple(10U, 0U, Lsn{}));
    EXPECT_EQ(told({end_of(7).value - 1}), std::tuple(50U, 1U, end_of(7)));
    EXPECT_EQ(told(end_of(2)), std::tuple(210U, 5U, end_of(3)));
    EXPECT_EQ(told({end_of(2).value - 1}), std::tuple(220U, 5U, end_of(3)));
    EXPECT_EQ(told({1}), std::tuple(300U, 7U, end_of(0)));
}

// It ends where its record begins, and so does what comes next on the other timeline.
TEST_F(CutBackFeedLogTest, LoneMessageAtTheVeryPlaceIsBeyondAndAKeepaliveIsNot) {
    FeedLog log{directory_};
    write_entry(log, 0);
    write_keepalive(log, commit_lsn(1));
    log.append(frames_of(1));
    log.finish_entry(commit_lsn(1), commit_lsn(1), FeedEntry::kIsLoneMessage);
    log.flush();
    EXPECT_EQ(log.beyond(commit_lsn(1)).first_end, commit_lsn(1));
    log.cut_back(commit_lsn(1));
    EXPECT_EQ(read_all(log), frames_of(0) + "keepalive ");
    write_other(log, 1);
}

TEST_F(CutBackFeedLogTest, WhoReadThereNeverFindsOtherBytesInTheirPlace) {
    FeedLog log{directory_, small_segments()};
    write_entries(log, 0, 8);
    const auto cut = log.segment_at({40});
    const auto removed = log.segment_at({240});
    log.cut_back(commit_lsn(1));
    for (int number = 1; number < 8; ++number) write_other(log, number);
    EXPECT_EQ(cut->end(), FeedPosition{40});
    EXPECT_EQ(cut->entries(), 1U);
    EXPECT_EQ(removed->end(), FeedPosition{320});
    EXPECT_EQ(removed->entry(0)->crc, crc32c(frames_of(6)));
    EXPECT_NE(log.segment_at({40}), cut);
    EXPECT_EQ(log.find(commit_lsn(7)), FeedPosition{280});
    EXPECT_EQ(log.entry_before({80})->crc, crc32c(other_frames(1)));
}

TEST_F(CutBackFeedLogTest, LogThatBeginsBeyondLosesAllAndGoesOnAtItsPosition) {
    {
        FeedLog log{directory_, small_segments()};
        write_entries(log, 0, 10);
        log.sync();
        log.remove_before({240});
        log.cut_back(commit_lsn(2));
        EXPECT_EQ(log.begin(), FeedPosition{240});
        EXPECT_EQ(log.finished(), FeedPosition{240});
        EXPECT_FALSE(log.last());
        write_other(log, 2);
        EXPECT_EQ(log.find(commit_lsn(2)), FeedPosition{240});
    }
    const FeedLog log{directory_, small_segments()};
    EXPECT_EQ(log.begin(), FeedPosition{240});
    EXPECT_EQ(log.segment_at({240})->header().after, Lsn{});
    EXPECT_EQ(read_all(log), other_frames(2));
}

TEST_F(CutBackFeedLogTest, RetentionSyncAndReadersRunBesideIt) {
    FeedLog log{directory_, small_segments()};
    std::atomic<bool> is_over{false};
    std::thread keeping{[&] {
        while (!is_over) {
            log.sync();
            log.remove_before({120});
        }
    }};
    std::thread reading{[&] {
        while (!is_over) {
            log.find(commit_lsn(5));
            log.entry_before(log.finished());
            log.entry_before({300});
        }
    }};
    for (int round = 0; round < 20; ++round) {
        write_entries(log, round == 0 ? 0 : 4, 12);
        log.cut_back(commit_lsn(4));
    }
    is_over = true;
    keeping.join();
    reading.join();
    write_entries(log, 4, 12);
    EXPECT_THAT(all_frames(0, 12), testing::EndsWith(read_all(log)));
    expect_whole(directory_);
}

TEST_F(CutBackFeedLogTest, KilledAtAnyCallItIsFinishedByTheNext) {
    const int kept = 4;
    for (int calls = 1;; ++calls) {
        const TemporaryDirectory temporary;
        std::optional<FeedLog> log;
        const auto prepare = [&] {
            log.emplace(temporary.path(), small_segments());
            write_entries(*log, 0, 5);
            log->sync();
            write_entries(*log, 5, 10);
            log->sync();
            write_entries(*log, 10, 11);
        };
        const auto act = [&] { log->cut_back(commit_lsn(kept)); };
        const bool is_killed = killed_at_call(calls, prepare, act);
        expect_whole(temporary.path());
        FeedLog again{temporary.path(), small_segments()};
        ASSERT_GE(again.finished(), FeedPosition{40 * kept}) << calls;
        ASSERT_THAT(all_frames(0, 11), StartsWith(read_all(again))) << calls;
        again.cut_back(commit_lsn(kept));
        for (int number = kept; number < 10; ++number) write_other(again, number);
        ASSERT_THAT(read_all(again), StartsWith(all_frames(0, kept) + other_frames(kept))) << calls;
        ASSERT_EQ(read_all(FeedLog{temporary.path()}), read_all(again)) << calls;
        if (is_killed) continue;
        EXPECT_GT(calls, 20);
        return;
    }
}

TEST_F(CutBackFeedLogTest, KilledAtAnyCallALogThatLosesAllGoesOnAtItsPosition) {
    for (int calls = 1;; ++calls) {
        const TemporaryDirectory temporary;
        std::optional<FeedLog> log;
        const auto prepare = [&] {
            log.emplace(temporary.path(), small_segments());
            write_entries(*log, 0, 5);
            log->sync();
            log->remove_before({120});
        };
        const auto act = [&] {
            log->cut_back(commit_lsn(2));
            write_other(*log, 2);
        };
        const bool is_killed = killed_at_call(calls, prepare, act);
        expect_whole(temporary.path());
        FeedLog again{temporary.path(), small_segments()};
        ASSERT_EQ(again.begin(), FeedPosition{120}) << calls;
        again.cut_back(commit_lsn(2));
        write_other(again, 2);
        const FeedLog last{temporary.path()};
        ASSERT_EQ(last.begin(), FeedPosition{120}) << calls;
        ASSERT_EQ(read_all(last), other_frames(2)) << calls;
        if (!is_killed) return;
    }
}

// Each state that the disk may have of it when the power fails.
TEST_F(CutBackFeedLogTest, CutThatWasBrokenOffIsALog) {
    const auto expect_end = [&](int whole) {
        const TemporaryDirectory temporary;
        for (const auto& [name, content] : contents(directory_))
            std::ofstream{temporary.path() / name} << content;
        expect_whole(temporary.path());
        FeedLog log{temporary.path(), small_segments()};
        EXPECT_EQ(read_all(log), all_frames(0, whole));
        log.cut_back(commit_lsn(4));
        EXPECT_EQ(read_all(log), all_frames(0, 4));
    };
    {
        FeedLog log{directory_, small_segments()};
        for (int number = 0; number < 10; ++number) {
            write_entry(log, number);
            log.sync();
        }
    }
    expect_end(10);
    for (const std::uint64_t position : {360, 240}) {
        fs::remove(index_file(position));
        expect_end(static_cast<int>(position / 40));
        fs::remove(frames_file(position));
        expect_end(static_cast<int>(position / 40));
    }
    fs::resize_file(index_file(120), fs::file_size(index_file(120)) - 2 * kFeedEntryBytes);
    expect_end(4);
    fs::resize_file(frames_file(120), 77);
    expect_end(4);
}

// -- Killed at any moment --

// Nothing that was on disk is missing, and what is there is what was written.
TEST_F(CutBackFeedLogTest, KilledAtAnyCallALogHasWhatWasOnDisk) {
    for (int calls = 1;; ++calls) {
        const TemporaryDirectory temporary;
        std::optional<FeedLog> log;
        const auto prepare = [&] {
            log.emplace(temporary.path(), small_segments());
            write_entries(*log, 0, 4);
            log->sync();
        };
        const auto act = [&] {
            write_entries(*log, 4, 6);
            log->append("of a transaction that is broken off");
            log->flush();
            log->abandon_entry();
            write_entries(*log, 6, 8);
            log->sync();
            log->remove_before({120});
            write_entries(*log, 8, 9);
        };
        const bool is_killed = killed_at_call(calls, prepare, act);
        expect_whole(temporary.path());
        FeedLog again{temporary.path(), small_segments()};
        const int whole = static_cast<int>(again.finished().value / 40);
        ASSERT_GE(whole, 4) << calls;
        ASSERT_EQ(read_all(again), all_frames(static_cast<int>(again.begin().value / 40), whole)) << calls;
        ASSERT_EQ(again.last()->commit_lsn, commit_lsn(whole - 1)) << calls;
        write_entries(again, whole, 12);
        ASSERT_THAT(all_frames(0, 12), testing::EndsWith(read_all(FeedLog{temporary.path()}))) << calls;
        if (is_killed) continue;
        EXPECT_EQ(whole, 9);
        EXPECT_GT(calls, 20);
        return;
    }
}

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
    const auto found = [&] {
        const FeedScan scan = scan_feed(directory_, ScanDepth::kAll);
        std::vector<std::string> names;
        for (const Flaw& flaw : scan.corruptions)
            names.push_back(flaw.file.filename().string() + " " + std::to_string(flaw.offset));
        if (scan.torn) names.push_back("torn " + scan.torn->file.filename().string());
        return names;
    };
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
