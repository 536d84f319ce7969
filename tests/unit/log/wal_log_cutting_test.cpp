#include <atomic>
#include <thread>

#include "log/wal_check.hpp"
#include "log/wal_log.hpp"
#include "unit/log/killed_at_call.hpp"
#include "unit/log/wal_log_fixture.hpp"

namespace pgcascade::log {

namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

class WalTimelineTest : public WalLogTest {
  protected:
    static constexpr Lsn kSwitch{kStart.value + kSegment + 5000};  // in the second segment
    static constexpr Lsn kBoundary{kStart.value + kSegment};

    // What the second timeline is after its switch point: the first one before it.
    static std::string second(Lsn from, Lsn to, Lsn switch_point) {
        const Lsn middle = std::clamp(switch_point, from, to);
        return wal(from, middle, kFirst) + wal(middle, to, kSecond);
    }

    // Goes on to `end` on the second timeline.
    static void write_second(WalLog& log, Lsn end, Lsn switch_point) {
        const WalPosition next = log.next();
        log.append(next.timeline, next.lsn, second(next.lsn, end, switch_point));
        log.flush();
    }

    // The log holds the first timeline up to the switch point, and the second from there to its end.
    static void expect_both(const WalLog& log, Lsn switch_point, Lsn end) {
        const Lsn start{switch_point.value / kSegment * kSegment};
        EXPECT_EQ(log.readable(), (WalPosition{kSecond, end}));
        EXPECT_EQ(read(log, kFirst, kStart, at(9 * kSegment)), wal(kStart, switch_point));
        EXPECT_EQ(read(log, kSecond, start, at(9 * kSegment)), second(start, end, switch_point));
        EXPECT_EQ(log.segment_at(kSecond, {start.value - 1}), nullptr);
    }
};

}  // namespace

// From wherever the log stood.
TEST_F(WalTimelineTest, NewTimelineGoesOnFromTheSwitchPoint) {
    for (const Lsn switch_point : {kSwitch, kBoundary})
        for (const std::uint64_t ahead : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{700},
                                          kSegment - 5000, kSegment, 2 * kSegment + 9})
            for (const bool is_synced : {false, true}) {
                const TemporaryDirectory temporary;
                const Lsn end = at(3 * kSegment + 77);
                {
                    WalLog log{temporary.path(), kOptions};
                    write(log, {switch_point.value + ahead});
                    if (is_synced) log.sync();
                    EXPECT_EQ(log.switch_timeline(kSecond, switch_point), ahead);
                    EXPECT_EQ(log.readable(), (WalPosition{kFirst, switch_point}));
                    EXPECT_EQ(log.durable(), (WalPosition{kFirst, switch_point}));
                    EXPECT_EQ(log.next(), (WalPosition{kSecond, kBoundary}));
                    EXPECT_EQ(log.cuts(), ahead == 0 ? 0U : 1U);
                    EXPECT_EQ(read(log, kFirst, kStart, at(9 * kSegment)), wal(kStart, switch_point));
                    write_second(log, end, switch_point);
                    expect_both(log, switch_point, end);
                    EXPECT_EQ(log.sync(), (WalPosition{kSecond, end}));
                }
                EXPECT_EQ(found_by_reading_all(temporary.path()), "");
                const WalLog again{temporary.path(), kOptions};
                EXPECT_FALSE(again.cut());
                expect_both(again, switch_point, end);
            }
}

TEST_F(WalTimelineTest, FilesAreThoseOfBothTimelines) {
    WalLog log{directory_, kOptions};
    write(log, at(3 * kSegment + 100));
    log.sync();
    log.switch_timeline(kSecond, kSwitch);
    EXPECT_THAT(names(directory_),
                ElementsAre(name_of(0), name_of(0) + ".sums", name_of(1) + ".partial", name_of(1) + ".sums"));
    EXPECT_EQ(read_file(file(name_of(1) + ".partial")), wal(kBoundary, kSwitch));
    write_second(log, at(2 * kSegment), kSwitch);
    log.sync();
    EXPECT_THAT(names(directory_),
                ElementsAre(name_of(0), name_of(0) + ".sums", name_of(1) + ".partial", name_of(1) + ".sums",
                            name_of(1, kSecond), name_of(1, kSecond) + ".sums"));
    EXPECT_EQ(read_file(file(name_of(1, kSecond))), second(kBoundary, at(2 * kSegment), kSwitch));
}

TEST_F(WalTimelineTest, SwitchOnABoundaryLeavesTheCompleteSegment) {
    WalLog log{directory_, kOptions};
    write(log, at(kSegment + 10));
    log.switch_timeline(kSecond, kBoundary);
    EXPECT_THAT(names(directory_), ElementsAre(name_of(0), name_of(0) + ".sums"));
    write_second(log, at(kSegment + 1), kBoundary);
    EXPECT_EQ(log.readable(), (WalPosition{kSecond, at(kSegment + 1)}));
}

TEST_F(WalTimelineTest, NothingOfTheNewTimelineIsReadableThatIsNotThere) {
    WalLog log{directory_, kOptions};
    write(log, kSwitch);
    log.switch_timeline(kSecond, kSwitch);
    for (const Lsn end : {at(kSegment + 1), at(kSegment + 4999), kSwitch}) {
        write_second(log, end, kSwitch);
        EXPECT_EQ(log.sync(), (WalPosition{kFirst, kSwitch}));
        EXPECT_EQ(log.readable(), (WalPosition{kFirst, kSwitch}));
        EXPECT_EQ(log.segment_at(kSecond, kBoundary), nullptr);
        EXPECT_EQ(log.next(), (WalPosition{kSecond, end}));
    }
    const Lsn beyond{kSwitch.value + 1};
    write_second(log, beyond, kSwitch);
    expect_both(log, kSwitch, beyond);
    EXPECT_EQ(log.durable(), (WalPosition{kFirst, kSwitch}));
    EXPECT_EQ(log.sync(), (WalPosition{kSecond, beyond}));
}

TEST_F(WalTimelineTest, OldTimelineComesWholeBeforeTheNewOne) {
    WalLog log{directory_, kOptions};
    EXPECT_THROW(log.switch_timeline(kSecond, kSwitch), Error);
    write(log, {kSwitch.value - 1});
    EXPECT_THROW(log.switch_timeline(kSecond, kSwitch), Error);
    EXPECT_EQ(log.next(), (WalPosition{kFirst, {kSwitch.value - 1}}));
    write(log, kSwitch);
    log.switch_timeline(kSecond, kSwitch);
    EXPECT_THROW(log.append(kFirst, kSwitch, "x"), Error);
    EXPECT_THROW(log.append(kSecond, kSwitch, "x"), Error);
    write_second(log, at(2 * kSegment), kSwitch);
    expect_both(log, kSwitch, at(2 * kSegment));
}

TEST_F(WalTimelineTest, GatheredBytesCountAsTheLogs) {
    WalLog log{directory_, kOptions};
    write(log, at(10));
    log.append(kFirst, at(10), wal(at(10), {kSwitch.value + 3}));
    EXPECT_EQ(log.switch_timeline(kSecond, kSwitch), 3U);
    EXPECT_EQ(read(log, kFirst, kStart, kSwitch), wal(kStart, kSwitch));
}

TEST_F(WalTimelineTest, OlderTimelineCantFollow) {
    WalLog log{directory_, kOptions};
    write(log, kSwitch);
    EXPECT_THROW(log.switch_timeline(kFirst, kSwitch), Error);
    EXPECT_THROW(log.switch_timeline({0}, kSwitch), Error);
    write(log, at(2 * kSegment));
}

TEST_F(WalTimelineTest, TimelineThatDoesNotRepeatTheOldOneIsRefused) {
    WalLog log{directory_, kOptions};
    write(log, kSwitch);
    log.switch_timeline(kSecond, kSwitch);
    std::string other = second(kBoundary, at(2 * kSegment), kSwitch);
    other[4999] = static_cast<char>(other[4999] ^ 1);
    log.append(kSecond, kBoundary, other.substr(0, 4999));
    EXPECT_THROW(log.append(kSecond, at(kSegment + 4999), other.substr(4999)), Error);
    write_second(log, at(2 * kSegment), kSwitch);
    expect_both(log, kSwitch, at(2 * kSegment));
}

// Which is as long as not more than the repeated bytes are there.
TEST_F(WalTimelineTest, NewTimelineThatWasNotYetReadableIsAskedForAgain) {
    for (const std::uint64_t bytes : {1, 4999, 5000, 5001}) {
        const TemporaryDirectory temporary;
        {
            WalLog log{temporary.path(), kOptions};
            write(log, {kSwitch.value + 100});
            log.switch_timeline(kSecond, kSwitch);
            write_second(log, at(kSegment + bytes), kSwitch);
        }
        WalLog log{temporary.path(), kOptions};
        EXPECT_FALSE(log.cut()) << bytes;
        if (bytes > 5000) {
            EXPECT_EQ(log.next(), (WalPosition{kSecond, at(kSegment + bytes)}));
        } else {
            EXPECT_EQ(log.next(), (WalPosition{kFirst, kSwitch})) << bytes;
            EXPECT_FALSE(fs::exists(temporary.path() / (name_of(1, kSecond) + ".partial"))) << bytes;
            EXPECT_EQ(log.switch_timeline(kSecond, kSwitch), 0U);
        }
        write_second(log, at(2 * kSegment + 1), kSwitch);
        expect_both(log, kSwitch, at(2 * kSegment + 1));
    }
}

TEST_F(WalTimelineTest, TornNewTimelineIsCutBackToTheOldOne) {
    for (std::uint64_t left = 4990; left < 5010; ++left) {
        const TemporaryDirectory temporary;
        {
            WalLog log{temporary.path(), kOptions};
            write(log, kSwitch);
            log.switch_timeline(kSecond, kSwitch);
            for (std::uint64_t bytes = 4990; bytes <= 5010; ++bytes)
                write_second(log, at(kSegment + bytes), kSwitch);
        }
        fs::resize_file(temporary.path() / (name_of(1, kSecond) + ".partial"), left);
        const WalLog log{temporary.path(), kOptions};
        EXPECT_TRUE(log.cut()) << left;
        EXPECT_EQ(log.readable(), left <= 5000 ? (WalPosition{kFirst, kSwitch})
                                               : (WalPosition{kSecond, at(kSegment + left)}));
    }
}

// -- Readers --

TEST_F(WalTimelineTest, ReaderFindsOutThatItsPlaceWasCutAway) {
    WalLog log{directory_, kOptions};
    write(log, at(2 * kSegment + 100));
    log.sync();
    const std::uint64_t cuts = log.cuts();
    const auto held = log.segment_at(kFirst, kSwitch);
    const auto removed = log.segment_at(kFirst, at(2 * kSegment));
    log.switch_timeline(kSecond, kSwitch);
    EXPECT_EQ(log.cuts(), cuts + 1);
    EXPECT_EQ(held->end(), kSwitch);
    EXPECT_EQ(removed->end(), at(2 * kSegment + 100));
    EXPECT_EQ(log.segment_at(kFirst, at(2 * kSegment)), nullptr);
    write_second(log, at(3 * kSegment), kSwitch);
    EXPECT_EQ(held->end(), kSwitch);
    EXPECT_EQ(log.cuts(), cuts + 1);
}

TEST_F(WalTimelineTest, ReadersAndSyncRunBesideTheSwitch) {
    WalLog log{directory_, kOptions};
    log.begin_at(kFirst, kStart);
    std::atomic<bool> is_over{false};
    std::atomic<Lsn> is_read{kStart};  // up to there: what a slot would be for
    std::thread syncing{[&] {
        while (!is_over) {
            log.sync();
            log.remove_before(std::min(at(kSegment), is_read.load()));
        }
    }};
    const Lsn end = at(4 * kSegment);
    std::thread reading{[&] {
        WalPosition place{kFirst, kStart};
        std::uint64_t cuts = 0;
        while (place != WalPosition{kSecond, end}) {
            const WalPosition readable = log.readable();
            if (log.cuts() != cuts) {  // this test cuts once, and in there
                cuts = log.cuts();
                place = {kFirst, std::min(place.lsn, kSwitch)};
                continue;
            }
            if (place == WalPosition{kFirst, kSwitch} && readable.timeline == kSecond)
                place.timeline = kSecond;
            const Lsn to = place.timeline < readable.timeline ? kSwitch : readable.lsn;
            const auto segment = log.segment_at(place.timeline, place.lsn);
            if (!segment || place.lsn >= to) {
                std::this_thread::yield();
                continue;
            }
            std::string bytes(std::min<std::uint64_t>(60'000, to.value - place.lsn.value), '\0');
            bytes.resize(segment->read(place.lsn, bytes.data(), bytes.size()));
            if (log.cuts() != cuts) continue;
            const Lsn next{place.lsn.value + bytes.size()};
            ASSERT_EQ(bytes,
                      place.timeline == kFirst ? wal(place.lsn, next) : second(place.lsn, next, kSwitch));
            place.lsn = next;
            is_read = std::max(is_read.load(), next);
        }
    }};
    for (std::uint64_t bytes = 0; bytes < 3 * kSegment; bytes += 30'011) write(log, at(bytes + 30'011));
    log.switch_timeline(kSecond, kSwitch);
    while (log.next().lsn < end)
        write_second(log, {std::min(end.value, log.next().lsn.value + 30'011)}, kSwitch);
    reading.join();
    is_over = true;
    syncing.join();
    log.sync();
    EXPECT_EQ(found_by_reading_all(directory_), "");
}

// -- More than one change --

TEST_F(WalTimelineTest, TimelinesFollowEachOther) {
    const Lsn second_switch = at(2 * kSegment + 7);
    const Lsn end = at(3 * kSegment);
    {
        WalLog log{directory_, kOptions};
        write(log, kSwitch);
        log.switch_timeline(kSecond, kSwitch);
        write_second(log, at(2 * kSegment + 50), kSwitch);
        EXPECT_EQ(log.switch_timeline(kThird, second_switch), 43U);
        log.append(kThird, at(2 * kSegment),
                   second(at(2 * kSegment), second_switch, kSwitch) + wal(second_switch, end, kThird));
        log.flush();
    }
    const WalLog log{directory_, kOptions};
    EXPECT_FALSE(log.cut());
    EXPECT_EQ(log.readable(), (WalPosition{kThird, end}));
    EXPECT_EQ(read(log, kFirst, kStart, end), wal(kStart, kSwitch));
    EXPECT_EQ(read(log, kSecond, kBoundary, end), second(kBoundary, second_switch, kSwitch));
    EXPECT_EQ(read(log, kThird, second_switch, end), wal(second_switch, end, kThird));
    EXPECT_EQ(found_by_reading_all(directory_), "");
}

TEST_F(WalTimelineTest, TwoTimelinesMayChangeWithinOneSegment) {
    const Lsn second_switch{kSwitch.value + 10};
    const Lsn end{kSwitch.value + 20};
    WalLog log{directory_, kOptions};
    write(log, kSwitch);
    log.switch_timeline(kSecond, kSwitch);
    write_second(log, second_switch, kSwitch);
    EXPECT_EQ(log.switch_timeline(kThird, second_switch), 0U);
    log.append(kThird, kBoundary,
               second(kBoundary, second_switch, kSwitch) + wal(second_switch, end, kThird));
    log.flush();
    const WalLog again{directory_, kOptions};
    EXPECT_EQ(again.readable(), (WalPosition{kThird, end}));
    EXPECT_EQ(read(again, kSecond, kBoundary, end), second(kBoundary, second_switch, kSwitch));
    EXPECT_EQ(scan_wal(directory_, ScanDepth::kAll).segments.size(), 4U);
}

// The upstream's history left the first timeline before the second one did.
TEST_F(WalTimelineTest, TimelineThatIsNotTheUpstreamsGoesWhole) {
    WalLog log{directory_, kOptions};
    write(log, kSwitch);
    log.switch_timeline(kSecond, kSwitch);
    write_second(log, at(2 * kSegment + 50), kSwitch);
    const Lsn earlier{kSwitch.value - 100};
    EXPECT_EQ(log.switch_timeline(kThird, earlier), at(2 * kSegment + 50).value - earlier.value);
    EXPECT_THAT(names(directory_),
                ElementsAre(name_of(0), name_of(0) + ".sums", name_of(1) + ".partial", name_of(1) + ".sums"));
    log.append(kThird, kBoundary, wal(kBoundary, earlier) + wal(earlier, kSwitch, kThird));
    log.flush();
    EXPECT_EQ(log.readable(), (WalPosition{kThird, kSwitch}));
}

TEST_F(WalTimelineTest, LogThatIsCutBackGoesOnWithItsTimeline) {
    WalLog log{directory_, kOptions};
    write(log, kSwitch);
    log.switch_timeline(kSecond, kSwitch);
    write_second(log, at(3 * kSegment), kSwitch);
    EXPECT_THROW(log.cut_back(at(3 * kSegment + 1)), Error);
    EXPECT_EQ(log.cut_back(kSwitch), at(3 * kSegment).value - kSwitch.value);
    EXPECT_EQ(log.next(), (WalPosition{kFirst, kSwitch}));
    write(log, at(2 * kSegment + 5));
    EXPECT_EQ(log.cut_back(at(2 * kSegment)), 5U);
    EXPECT_EQ(log.next(), (WalPosition{kFirst, at(2 * kSegment)}));
    write(log, at(3 * kSegment + 5));
    const WalLog again{directory_, kOptions};
    EXPECT_FALSE(again.cut());
    EXPECT_EQ(again.readable(), (WalPosition{kFirst, at(3 * kSegment + 5)}));
    EXPECT_EQ(read(again, kFirst, kStart, at(9 * kSegment)), wal(kStart, at(3 * kSegment + 5)));
    EXPECT_EQ(found_by_reading_all(directory_), "");
}

TEST_F(WalTimelineTest, LogThatBeginsBehindTheSwitchPointBeginsAnew) {
    WalLog log{directory_, kOptions};
    write(log, at(3 * kSegment));
    log.sync();
    log.remove_before(at(2 * kSegment));
    EXPECT_EQ(log.switch_timeline(kSecond, kSwitch), kSegment);
    EXPECT_TRUE(names(directory_).empty());
    EXPECT_EQ(log.begin(), (WalPosition{kSecond, kBoundary}));
    EXPECT_EQ(log.readable(), (WalPosition{kSecond, kBoundary}));
    write_second(log, at(2 * kSegment + 1), kSwitch);
    EXPECT_EQ(read(log, kSecond, kBoundary, at(2 * kSegment + 1)),
              second(kBoundary, at(2 * kSegment + 1), kSwitch));
    const WalLog again{directory_, kOptions};
    EXPECT_EQ(again.begin(), (WalPosition{kSecond, kBoundary}));
    EXPECT_EQ(again.readable(), (WalPosition{kSecond, at(2 * kSegment + 1)}));
}

TEST_F(WalTimelineTest, LogOfWhichNothingIsLeftBeginsAnew) {
    WalLog log{directory_, kOptions};
    write(log, at(3 * kSegment));
    EXPECT_EQ(log.cut_back(kStart), 3 * kSegment);
    EXPECT_EQ(log.readable(), WalPosition{});
    EXPECT_EQ(log.next(), WalPosition{});
    EXPECT_TRUE(names(directory_).empty());
    write(log, at(100));
    EXPECT_EQ(read(log, kFirst, kStart, at(100)), wal(kStart, at(100)));
}

TEST_F(WalTimelineTest, OldTimelineIsRemovedOnceTheNewOneIsOnDisk) {
    WalLog log{directory_, kOptions};
    log.add_history(kSecond, "1\t5/FFF01388\tno recovery target specified\n");
    write(log, kSwitch);
    log.switch_timeline(kSecond, kSwitch);
    log.remove_before(at(9 * kSegment));
    EXPECT_EQ(log.begin(), (WalPosition{kFirst, kBoundary}));
    write_second(log, at(2 * kSegment + 1), kSwitch);
    log.remove_before(at(9 * kSegment));
    EXPECT_EQ(log.begin(), (WalPosition{kFirst, kBoundary}));
    log.sync();
    log.remove_before({kSwitch.value - 1});
    EXPECT_EQ(log.begin(), (WalPosition{kFirst, kBoundary}));
    log.remove_before(kSwitch);
    EXPECT_EQ(log.begin(), (WalPosition{kSecond, kBoundary}));
    EXPECT_EQ(read(log, kSecond, kBoundary, kSwitch), wal(kBoundary, kSwitch));
    log.remove_before(at(2 * kSegment));
    EXPECT_THAT(names(directory_), ElementsAre("00000002.history", name_of(2, kSecond) + ".partial",
                                               name_of(2, kSecond) + ".sums"));
    const WalLog again{directory_, kOptions};
    EXPECT_EQ(again.begin(), (WalPosition{kSecond, at(2 * kSegment)}));
    EXPECT_FALSE(again.cut());
}

// -- Crashes and damage --

TEST_F(WalTimelineTest, KilledAtAnyCallTheSwitchIsFinishedByTheNext) {
    const Lsn end = at(3 * kSegment + 100);
    std::map<std::string, std::string> whole;
    for (int calls = 1;; ++calls) {
        const TemporaryDirectory temporary;
        std::optional<WalLog> log;
        const auto prepare = [&] {
            log.emplace(temporary.path(), kOptions);
            write(*log, end);
            log->sync();
        };
        const bool is_killed =
            killed_at_call(calls, prepare, [&] { log->switch_timeline(kSecond, kSwitch); });
        ASSERT_EQ(found_by_reading_all(temporary.path()), "") << calls;
        WalLog again{temporary.path(), kOptions};
        const WalPosition found = again.readable();
        ASSERT_EQ(found.timeline, kFirst) << calls;
        ASSERT_GE(found.lsn, kSwitch) << calls;
        ASSERT_EQ(read(again, kFirst, kStart, end), wal(kStart, found.lsn)) << calls;
        ASSERT_EQ(again.switch_timeline(kSecond, kSwitch), found.lsn.value - kSwitch.value) << calls;
        if (whole.empty()) whole = contents(temporary.path());
        ASSERT_EQ(contents(temporary.path()), whole) << calls;
        if (is_killed) continue;
        EXPECT_EQ(found.lsn, kSwitch);
        EXPECT_GT(calls, 20);
        return;
    }
}

// Each state that the disk may have of it when the power fails.
TEST_F(WalTimelineTest, SwitchThatWasCutOffHalfIsALog) {
    const Lsn end = at(3 * kSegment + 100);
    const auto expect_end = [&](Lsn expected) {
        const TemporaryDirectory temporary;
        for (const auto& [name, content] : contents(directory_))
            std::ofstream{temporary.path() / name} << content;
        EXPECT_EQ(found_by_reading_all(temporary.path()), "");
        WalLog log{temporary.path(), kOptions};
        EXPECT_EQ(log.readable(), (WalPosition{kFirst, expected}));
        EXPECT_EQ(log.switch_timeline(kSecond, kSwitch), expected.value - kSwitch.value);
    };
    {
        WalLog log{directory_, kOptions};
        write(log, end);
        log.sync();
    }
    expect_end(end);
    fs::remove(file(name_of(3) + ".sums"));
    expect_end(at(3 * kSegment));
    fs::remove(file(name_of(3) + ".partial"));
    expect_end(at(3 * kSegment));
    fs::rename(file(name_of(2)), file(name_of(2) + ".partial"));
    expect_end(at(3 * kSegment));
    fs::remove(file(name_of(2) + ".sums"));
    expect_end(at(2 * kSegment));
    fs::remove(file(name_of(2) + ".partial"));
    fs::rename(file(name_of(1)), file(name_of(1) + ".partial"));
    expect_end(at(2 * kSegment));
    WalResummer resummer{{{kFirst, kBoundary}, kSegment}, kSwitch};
    resummer.add(wal(kBoundary, at(2 * kSegment)));
    std::ofstream{file(name_of(1) + ".sums")} << resummer.file();
    expect_end(kSwitch);
    fs::resize_file(file(name_of(1) + ".partial"), 5000);
    expect_end(kSwitch);
}

TEST_F(WalTimelineTest, EndOfTheOldTimelineIsOnDiskForCertain) {
    {
        WalLog log{directory_, kOptions};
        write(log, kSwitch);
        log.switch_timeline(kSecond, kSwitch);
    }
    const std::string partial = name_of(1) + ".partial";
    flip_bit(file(partial), 4999);
    EXPECT_THAT(refusal(directory_), StartsWith(file(partial).string() + ", offset 0: the WAL is damaged"));
    flip_bit(file(partial), 4999);
    fs::resize_file(file(partial), 4999);
    EXPECT_THAT(refusal(directory_), HasSubstr("the WAL is cut short"));
    fs::remove(file(partial));
    EXPECT_THAT(refusal(directory_), StartsWith(file(partial).string() + ", offset 0: the file is missing"));
}

TEST_F(WalTimelineTest, DamageToTheNewTimelineIsRefused) {
    {
        WalLog log{directory_, kOptions};
        write(log, kSwitch);
        log.switch_timeline(kSecond, kSwitch);
        write_second(log, at(kSegment + 6000), kSwitch);
        log.sync();
        write_second(log, at(kSegment + 7000), kSwitch);
    }
    const std::string partial = name_of(1, kSecond) + ".partial";
    for (const std::uint64_t offset : {0, 4999, 5000, 5999}) {
        flip_bit(file(partial), offset);
        EXPECT_THAT(refusal(directory_),
                    StartsWith(file(partial).string() + ", offset 0: the WAL is damaged"));
        flip_bit(file(partial), offset);
    }
    flip_bit(file(partial), 6000);
    const WalLog log{directory_, kOptions};
    EXPECT_EQ(log.readable(), (WalPosition{kSecond, at(kSegment + 6000)}));
}

}  // namespace pgcascade::log
