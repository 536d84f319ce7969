#include <functional>
#include <optional>
#include <thread>

#include "unit/log/feed_log_fixture.hpp"
#include "unit/log/killed_at_call.hpp"

namespace pgcascade::log {

using testing::EndsWith;
using testing::StartsWith;

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

    // Kills `act` at its first call, at its second, and so on, until it is done before; looks each time at
    // what is left of the log. Returns how often that was.
    using Work = std::function<void(FeedLog&)>;
    static int killed_at_each_call(const Work& prepare, const Work& act, const Work& look) {
        for (int calls = 1;; ++calls) {
            SCOPED_TRACE(calls);
            const TemporaryDirectory temporary;
            std::optional<FeedLog> log;
            const auto begin = [&] { prepare(log.emplace(temporary.path(), small_segments())); };
            const bool is_killed = killed_at_call(calls, begin, [&] { act(*log); });
            expect_whole(temporary.path());
            FeedLog left{temporary.path(), small_segments()};
            look(left);
            const FeedLog again{temporary.path()};
            EXPECT_EQ(again.begin(), left.begin());
            EXPECT_EQ(read_all(again), read_all(left));
            if (!is_killed || HasFailure()) return calls;
        }
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
    EXPECT_THAT(all_frames(0, 12), EndsWith(read_all(log)));
    expect_whole(directory_);
}

TEST_F(CutBackFeedLogTest, KilledAtAnyCallItIsFinishedByTheNext) {
    const int kept = 4;
    const auto prepare = [](FeedLog& log) {
        write_entries(log, 0, 5);
        log.sync();
        write_entries(log, 5, 10);
        log.sync();
        write_entries(log, 10, 11);
    };
    const auto cut = [](FeedLog& log) { log.cut_back(commit_lsn(kept)); };
    const int calls = killed_at_each_call(prepare, cut, [&](FeedLog& log) {
        ASSERT_GE(log.finished(), FeedPosition{40 * kept});
        ASSERT_THAT(all_frames(0, 11), StartsWith(read_all(log)));
        cut(log);
        for (int number = kept; number < 10; ++number) write_other(log, number);
        ASSERT_THAT(read_all(log), StartsWith(all_frames(0, kept) + other_frames(kept)));
    });
    EXPECT_GT(calls, 20);
}

TEST_F(CutBackFeedLogTest, KilledAtAnyCallALogThatLosesAllGoesOnAtItsPosition) {
    const auto prepare = [](FeedLog& log) {
        write_entries(log, 0, 5);
        log.sync();
        log.remove_before({120});
    };
    const auto cut = [](FeedLog& log) {
        log.cut_back(commit_lsn(2));
        write_other(log, 2);
    };
    killed_at_each_call(prepare, cut, [&](FeedLog& log) {
        ASSERT_EQ(log.begin(), FeedPosition{120});
        cut(log);
        ASSERT_EQ(log.begin(), FeedPosition{120});
        ASSERT_EQ(read_all(log), other_frames(2));
    });
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
    const auto prepare = [](FeedLog& log) {
        write_entries(log, 0, 4);
        log.sync();
    };
    const auto work = [](FeedLog& log) {
        write_entries(log, 4, 6);
        log.append("of a transaction that is broken off");
        log.flush();
        log.abandon_entry();
        write_entries(log, 6, 8);
        log.sync();
        log.remove_before({120});
        write_entries(log, 8, 9);
    };
    int whole = 0;
    const int calls = killed_at_each_call(prepare, work, [&](FeedLog& log) {
        whole = static_cast<int>(log.finished().value / 40);
        ASSERT_GE(whole, 4);
        ASSERT_EQ(read_all(log), all_frames(static_cast<int>(log.begin().value / 40), whole));
        ASSERT_EQ(log.last()->commit_lsn, commit_lsn(whole - 1));
        write_entries(log, whole, 12);
        ASSERT_THAT(all_frames(0, 12), EndsWith(read_all(log)));
    });
    EXPECT_EQ(whole, 9) << "it was not killed the last time";
    EXPECT_GT(calls, 20);
}

}  // namespace pgcascade::log
