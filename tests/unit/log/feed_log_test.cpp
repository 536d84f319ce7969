#include "log/feed_log.hpp"

#include <csignal>
#include <thread>

#include <sys/resource.h>
#include <unistd.h>

#include "unit/log/feed_log_fixture.hpp"

namespace pgcascade::log {

using testing::HasSubstr;
using testing::StartsWith;

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

}  // namespace pgcascade::log
