#include "log/wal_log.hpp"

#include <csignal>
#include <random>
#include <thread>

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <unistd.h>

#include "unit/log/wal_log_fixture.hpp"

namespace pgcascade::log {

namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

}  // namespace

TEST_F(WalLogTest, WalIsReadAsItWasWritten) {
    WalLog log{directory_, kOptions};
    const Lsn end = at(3 * kSegment + 12345);
    log.begin_at(kFirst, kStart);
    std::minstd_rand random{1};  // NOLINT(cert-msc51-cpp): the same sizes each time
    for (Lsn next = kStart; next < end;) {
        const Lsn to{std::min(end.value, next.value + 1 + random() % 300'000)};
        log.append(kFirst, next, wal(next, to));
        if (random() % 3 == 0) log.flush();
        next = to;
    }
    log.flush();
    EXPECT_EQ(log.begin(), (WalPosition{kFirst, kStart}));
    EXPECT_EQ(log.readable(), (WalPosition{kFirst, end}));
    EXPECT_EQ(log.next(), (WalPosition{kFirst, end}));
    EXPECT_EQ(read(log, kFirst, kStart, end), wal(kStart, end));
    EXPECT_EQ(read(log, kFirst, at(kSegment - 1), at(kSegment + 1)), wal(at(kSegment - 1), at(kSegment + 1)));
}

TEST_F(WalLogTest, CompleteSegmentsHaveTheirNamesAndSizeOnceTheyAreOnDisk) {
    WalLog log{directory_, kOptions};
    write(log, at(2 * kSegment + 100));
    EXPECT_THAT(names(directory_),
                ElementsAre("000000010000000500000FFE.partial", "000000010000000500000FFE.sums",
                            "000000010000000500000FFF.partial", "000000010000000500000FFF.sums",
                            "000000010000000600000000.partial", "000000010000000600000000.sums"));
    log.sync();
    EXPECT_THAT(names(directory_),
                ElementsAre("000000010000000500000FFE", "000000010000000500000FFE.sums",
                            "000000010000000500000FFF", "000000010000000500000FFF.sums",
                            "000000010000000600000000.partial", "000000010000000600000000.sums"));
    EXPECT_EQ(read_file(file(name_of(0))), wal(kStart, at(kSegment)));
    EXPECT_EQ(read_file(file(name_of(1))), wal(at(kSegment), at(2 * kSegment)));
    EXPECT_EQ(read_file(file(name_of(2) + ".partial")), wal(at(2 * kSegment), at(2 * kSegment + 100)));
    EXPECT_EQ(read(log, kFirst, kStart, log.readable().lsn), wal(kStart, log.readable().lsn));
}

// However small the batches were.
TEST_F(WalLogTest, SumsOfACompleteSegmentAreFew) {
    WalLog log{directory_, kOptions};
    for (std::uint64_t bytes = 0; bytes <= kSegment; bytes += 500) write(log, at(bytes + 500));
    const fs::path sums = file(name_of(0) + ".sums");
    EXPECT_EQ(fs::file_size(sums), kWalSumsHeaderBytes + (kSegment / 500 + 1) * kWalSumBytes);
    log.sync();
    EXPECT_EQ(fs::file_size(sums), kWalSumsHeaderBytes + kSegment / kWalBlockBytes * kWalSumBytes);
    const WalScan scan = scan_wal(directory_, ScanDepth::kAll);
    EXPECT_FALSE(scan.torn);
    EXPECT_EQ(scan.bytes_checked, distance(kStart, log.readable().lsn));
}

TEST_F(WalLogTest, WalIsReadableOnceItIsFlushed) {
    WalLog log{directory_, kOptions};
    write(log, at(100));
    log.append(kFirst, at(100), wal(at(100), at(200)));
    EXPECT_EQ(log.gathered_bytes(), 100U);
    EXPECT_EQ(log.readable().lsn, at(100));
    EXPECT_EQ(log.next().lsn, at(200));
    log.flush();
    EXPECT_EQ(log.gathered_bytes(), 0U);
    EXPECT_EQ(log.readable().lsn, at(200));
}

TEST_F(WalLogTest, EmptyLogBeginsWhereASegmentStarts) {
    WalLog log{directory_, kOptions};
    EXPECT_EQ(log.begin(), WalPosition{});
    EXPECT_EQ(log.readable(), WalPosition{});
    EXPECT_EQ(log.sync(), WalPosition{});
    EXPECT_THROW(log.append(kFirst, kStart, "x"), Error);
    EXPECT_THROW(log.append({0}, {0}, "x"), Error);
    EXPECT_THROW(log.begin_at(kFirst, at(1)), Error);
    EXPECT_THROW(log.begin_at({0}, kStart), Error);
    log.begin_at(kFirst, at(kSegment));
    log.begin_at(kFirst, kStart);
    EXPECT_EQ(log.begin(), (WalPosition{kFirst, kStart}));
    EXPECT_EQ(log.durable(), (WalPosition{kFirst, kStart}));
    EXPECT_EQ(log.segment_at(kFirst, kStart), nullptr);
    write(log, at(1));
    EXPECT_THROW(log.begin_at(kFirst, kStart), Error);
}

TEST_F(WalLogTest, OnlyWhatFollowsIsTaken) {
    WalLog log{directory_, kOptions};
    write(log, at(100));
    for (const std::uint64_t wrong : {0, 99, 101}) EXPECT_THROW(log.append(kFirst, at(wrong), "x"), Error);
    EXPECT_THROW(log.append(kSecond, at(100), "x"), Error);
    write(log, at(200));
    EXPECT_EQ(read(log, kFirst, kStart, at(200)), wal(kStart, at(200)));
}

TEST_F(WalLogTest, LogGoesOnWhereItEnded) {
    Lsn end = kStart;
    for (const std::uint64_t bytes : {std::uint64_t{1}, std::uint64_t{700}, kSegment - 1, kSegment,
                                      kSegment + 1, 3 * kSegment - 5, 4 * kSegment, 4 * kSegment + 9}) {
        WalLog log{directory_, kOptions};
        EXPECT_FALSE(log.cut());
        EXPECT_EQ(log.readable().lsn, end > kStart ? end : Lsn{});
        end = at(bytes);
        write(log, end);
        EXPECT_EQ(read(log, kFirst, kStart, end), wal(kStart, end));
    }
    const WalLog log{directory_, kOptions};
    EXPECT_FALSE(log.cut());
    EXPECT_EQ(read(log, kFirst, kStart, end), wal(kStart, end));
    EXPECT_EQ(log.durable(), log.readable());
}

TEST_F(WalLogTest, SyncTellsWhatIsOnDisk) {
    WalLog log{directory_, kOptions};
    write(log, at(100));
    EXPECT_EQ(log.durable().lsn, kStart);
    EXPECT_EQ(log.sync(), (WalPosition{kFirst, at(100)}));
    EXPECT_EQ(log.durable(), (WalPosition{kFirst, at(100)}));
    write(log, at(200));
    EXPECT_EQ(log.durable().lsn, at(100));
}

TEST_F(WalLogTest, SegmentsThatAreNotThereAreNull) {
    WalLog log{directory_, kOptions};
    write(log, at(kSegment + 1));
    EXPECT_EQ(log.segment_at(kFirst, {kStart.value - 1}), nullptr);
    EXPECT_EQ(log.segment_at(kFirst, at(2 * kSegment)), nullptr);
    EXPECT_EQ(log.segment_at(kSecond, kStart), nullptr);
    EXPECT_EQ(log.segment_at({0}, kStart), nullptr);
    const auto segment = log.segment_at(kFirst, at(kSegment - 1));
    ASSERT_TRUE(segment);
    EXPECT_EQ(segment->timeline(), kFirst);
    EXPECT_EQ(segment->start().lsn, kStart);
    EXPECT_EQ(segment->end(), at(kSegment));
    EXPECT_EQ(segment->offset_of(at(7)), 7U);
}

TEST_F(WalLogTest, LongLogKeepsFewFilesOpen) {
    const auto open_files = [] {
        return std::distance(fs::directory_iterator{"/proc/self/fd"}, fs::directory_iterator{});
    };
    const auto before = open_files();
    WalLog log{directory_, kOptions};
    for (std::uint64_t number = 1; number <= 20; ++number) {
        write(log, at(number * kSegment + 1));
        log.sync();
    }
    EXPECT_EQ(read(log, kFirst, kStart, at(20 * kSegment)), wal(kStart, at(20 * kSegment)));
    EXPECT_LT(open_files(), before + 6);
    const WalLog again{directory_, kOptions};
    EXPECT_LT(open_files(), before + 12);
}

TEST_F(WalLogTest, HistoriesAreKeptByteForByte) {
    const std::string content{"1\t0/3000148\tno recovery target specified\n\0#", 43};
    WalLog log{directory_, kOptions};
    EXPECT_FALSE(log.history(kSecond));
    log.add_history(kSecond, "old");
    log.add_history(kSecond, content);
    log.add_history({0x1A}, content);
    EXPECT_EQ(log.history(kSecond), content);
    EXPECT_EQ(read_file(file("00000002.history")), content);
    write(log, at(3 * kSegment));
    log.sync();
    log.remove_before(at(2 * kSegment));
    const WalLog again{directory_, kOptions};
    EXPECT_EQ(again.history({0x1A}), content);
    EXPECT_THAT(scan_wal(directory_, ScanDepth::kTail).histories, ElementsAre(kSecond, TimelineId{0x1A}));
}

TEST_F(WalLogTest, FilesOfOthersAreLeftAlone) {
    const std::vector<std::string> theirs{"000000010000000500000FFE.gz",
                                          "000000010000000500000FFE.00000028.backup",
                                          "00000001000000050000GGGG",
                                          "archive_status",
                                          "notes.tmp",
                                          "000000020000000000000003.partial.tmp"};
    for (const std::string& name : theirs) std::ofstream{file(name)} << name;
    fs::create_directory(file("000000010000000500000FFF"));
    {
        WalLog log{directory_, kOptions};
        write(log, at(kSegment / 2));
        log.sync();
    }
    {
        WalLog log{directory_, kOptions};
        EXPECT_FALSE(log.cut());
        EXPECT_EQ(log.next().lsn, at(kSegment / 2));
    }
    for (const std::string& name : theirs) EXPECT_EQ(read_file(file(name)), name);
    EXPECT_TRUE(fs::is_directory(file("000000010000000500000FFF")));
}

TEST_F(WalLogTest, SizeThatNoSegmentHasIsRefused) {
    EXPECT_THROW((WalLog{directory_, {.segment_bytes = 0}}), Error);
    EXPECT_THROW((WalLog{directory_, {.segment_bytes = 3 * kSegment}}), Error);
}

// -- Retention --

TEST_F(WalLogTest, RemovedSegmentsAreGoneButStayReadableForWhoHoldsThem) {
    WalLog log{directory_, kOptions};
    write(log, at(3 * kSegment + 10));
    log.sync();
    const auto held = log.segment_at(kFirst, kStart);
    log.remove_before(at(2 * kSegment - 1));
    EXPECT_EQ(log.begin().lsn, at(kSegment));
    EXPECT_EQ(log.segment_at(kFirst, kStart), nullptr);
    EXPECT_EQ(held->end(), at(kSegment));
    EXPECT_FALSE(fs::exists(file(name_of(0))));
    EXPECT_FALSE(fs::exists(file(name_of(0) + ".sums")));
    const WalLog again{directory_, kOptions};
    EXPECT_EQ(again.begin().lsn, at(kSegment));
    EXPECT_EQ(read(again, kFirst, at(kSegment), log.readable().lsn), wal(at(kSegment), log.readable().lsn));
}

TEST_F(WalLogTest, NothingIsRemovedBeforeWhatFollowsIsOnDisk) {
    WalLog log{directory_, kOptions};
    write(log, at(2 * kSegment));
    log.remove_before(at(2 * kSegment));
    EXPECT_EQ(log.begin().lsn, kStart);
    log.sync();
    log.remove_before(at(2 * kSegment));
    EXPECT_EQ(log.begin().lsn, at(kSegment));
    write(log, at(2 * kSegment + 1));
    log.remove_before(at(3 * kSegment));
    EXPECT_EQ(log.begin().lsn, at(kSegment));
    log.sync();
    log.remove_before(at(3 * kSegment));
    EXPECT_EQ(log.begin().lsn, at(2 * kSegment));
}

TEST_F(WalLogTest, LastSegmentIsNeverRemoved) {
    WalLog log{directory_, kOptions};
    write(log, at(kSegment));
    log.sync();
    log.remove_before(at(9 * kSegment));
    EXPECT_EQ(log.begin().lsn, kStart);
    EXPECT_EQ(read(log, kFirst, kStart, at(kSegment)), wal(kStart, at(kSegment)));
}

TEST_F(WalLogTest, SegmentThatWasRemovedHalfIsNoDamage) {
    {
        WalLog log{directory_, kOptions};
        write(log, at(2 * kSegment + 10));
        log.sync();
    }
    fs::remove(file(name_of(0)));
    const WalLog log{directory_, kOptions};
    EXPECT_FALSE(log.cut());
    EXPECT_EQ(log.begin().lsn, at(kSegment));
    EXPECT_FALSE(fs::exists(file(name_of(0) + ".sums")));
}

// -- A full disk --

TEST_F(WalLogTest, FlushThatFailedLosesNothingAndMayBeRepeated) {
    rlimit before{};
    ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
    const auto handler = ::signal(SIGXFSZ, SIG_IGN);
    WalLog log{directory_, kOptions};
    write(log, at(1000));
    log.append(kFirst, at(1000), wal(at(1000), at(2 * kSegment)));
    for (const rlim_t most : {0, 10, 1000, 50'000, 1 << 19}) {
        const rlimit small{.rlim_cur = most, .rlim_max = before.rlim_max};
        ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
        EXPECT_THROW(log.flush(), SystemError);
        ::setrlimit(RLIMIT_FSIZE, &before);
        EXPECT_EQ(log.readable().lsn, at(1000));
        EXPECT_EQ(log.next().lsn, at(2 * kSegment));
        EXPECT_EQ(scan_wal(directory_, ScanDepth::kAll).end.lsn, at(1000));
    }
    ::signal(SIGXFSZ, handler);
    log.flush();
    EXPECT_EQ(read(log, kFirst, kStart, at(2 * kSegment)), wal(kStart, at(2 * kSegment)));
    log.sync();
    EXPECT_EQ(found_by_reading_all(directory_), "");
}

namespace {

// A file that takes all that is left of the disk.
void fill_disk(const fs::path& file) {
    const FileDescriptor fd{::open(file.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600)};
    const std::string page(4096, 'x');
    while (::write(fd.get(), page.data(), page.size()) > 0) continue;
}

void expect(bool is_true, const char* what) {
    if (is_true) return;
    std::fputs(what, stderr);
    std::_Exit(1);
}

}  // namespace

// In a process and on a disk of its own.
TEST_F(WalLogTest, SegmentThatIsCompleteOnAFullDiskGetsItsNameOnceThereIsRoom) {
    constexpr int kMayNotMount = 2;
    const auto on_small_disk = [&] {
        if (::unshare(CLONE_NEWNS) != 0 || ::mount("", "/", "", MS_REC | MS_PRIVATE, "") != 0 ||
            ::mount("tmpfs", directory_.c_str(), "tmpfs", 0, "size=3m") != 0)
            std::_Exit(kMayNotMount);
        WalLog log{directory_, kOptions};
        write(log, at(kSegment + 100));
        fill_disk(file("filler"));
        expect(log.sync().lsn == at(kSegment + 100), "sync");
        expect(fs::exists(file(name_of(0) + ".partial")), "the segment stays as it is");
        expect(refusal(directory_).empty(), "it is a log");
        fs::remove(file("filler"));
        log.sync();
        expect(read_file(file(name_of(0))) == wal(kStart, at(kSegment)), "the segment is complete");
        expect(found_by_reading_all(directory_).empty(), "it is whole");
        std::_Exit(0);
    };
    bool is_skipped = false;
    const auto is_over = [&](int status) {
        is_skipped = WIFEXITED(status) && WEXITSTATUS(status) == kMayNotMount;
        return is_skipped || (WIFEXITED(status) && WEXITSTATUS(status) == 0);
    };
    EXPECT_EXIT(on_small_disk(), is_over, "");
    if (is_skipped) GTEST_SKIP() << "needs to mount a disk";
}

// -- Threads --

TEST_F(WalLogTest, ReadersSyncAndRetentionRunBesideTheWriter) {
    const Lsn end = at(6 * kSegment + 777);
    WalLog log{directory_, kOptions};
    log.begin_at(kFirst, kStart);
    std::atomic<std::uint64_t> taken{kStart.value};
    std::thread syncing{[&] {
        while (log.sync().lsn < end) log.remove_before({taken});
    }};
    const auto read_along = [&](bool releases) {
        std::shared_ptr<const WalSegment> segment;
        std::string buffer(50'000, '\0');
        for (Lsn place = kStart; place < end;) {
            const Lsn readable = log.readable().lsn;
            if (place == readable) {
                std::this_thread::yield();
                continue;
            }
            if (!segment || place >= segment->end()) segment = log.segment_at(kFirst, place);
            ASSERT_TRUE(segment);
            const std::size_t wanted = std::min(buffer.size(), readable.value - place.value);
            const ssize_t count =
                ::pread(segment->fd(), buffer.data(), wanted, static_cast<off_t>(segment->offset_of(place)));
            ASSERT_GE(count, 0);
            const Lsn to{place.value + static_cast<std::uint64_t>(count)};
            ASSERT_EQ(buffer.substr(0, static_cast<std::size_t>(count)), wal(place, to));
            place = to;
            if (releases) taken = place.value;
        }
    };
    std::thread first{[&] { read_along(true); }};
    std::vector<std::pair<WalPosition, WalPosition>> seen;
    std::thread watching{[&] {
        while (log.readable().lsn < end) {
            const WalPosition durable = log.durable();
            seen.emplace_back(durable, log.readable());
            std::this_thread::yield();
        }
    }};
    for (Lsn next = kStart; next < end; next.value = std::min(end.value, next.value + 7919))
        write(log, {std::min(end.value, next.value + 7919)});
    first.join();
    watching.join();
    syncing.join();
    for (const auto& [durable, readable] : seen) EXPECT_LE(durable, readable);
    EXPECT_EQ(log.durable().lsn, end);
    EXPECT_EQ(found_by_reading_all(directory_), "");
}

}  // namespace pgcascade::log
