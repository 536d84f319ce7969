#include "log/wal_scan.hpp"

#include <atomic>
#include <thread>

#include "log/inspection.hpp"
#include "log/wal_sums.hpp"
#include "unit/log/flaw_names.hpp"
#include "unit/log/killed_at_call.hpp"
#include "unit/log/wal_log_fixture.hpp"

namespace pgcascade::log {

namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::StartsWith;

// A log that ends with three batches of 40 bytes, which nothing says are on disk.
class TornWalLogTest : public WalLogTest {
  protected:
    explicit TornWalLogTest(std::uint64_t first_batch = 1000) : first_batch_(first_batch) {}

    void write_log(const fs::path& directory) const {
        WalLog log{directory, kOptions};
        write(log, end_after(0));
        for (int batch = 1; batch <= 3; ++batch) write(log, end_after(batch));
    }

    Lsn end_after(int batches) const { return at(first_batch_ + 40 * static_cast<std::uint64_t>(batches)); }

    // The log opens with so many of the batches, and can be gone on with.
    void expect_batches(const fs::path& directory, int batches, const std::string& where) const {
        {
            WalLog log{directory, kOptions};
            ASSERT_EQ(log.next().lsn, end_after(batches)) << where;
            EXPECT_EQ(log.cut().has_value(), batches < 3) << where;
            EXPECT_EQ(read(log, kFirst, kStart, end_after(3)), wal(kStart, end_after(batches))) << where;
            write(log, end_after(3));
        }
        const WalScan scan = scan_wal(directory, ScanDepth::kAll);
        EXPECT_FALSE(scan.torn || scan.tail_bytes > 0) << where;
        EXPECT_EQ(scan.end.lsn, end_after(3)) << where;
    }

    std::string partial() const { return name_of(first_batch_ / kSegment) + ".partial"; }
    std::string sums() const { return name_of(first_batch_ / kSegment) + ".sums"; }

    const std::uint64_t first_batch_;
};

class TornLaterSegmentTest : public TornWalLogTest {
  protected:
    TornLaterSegmentTest() : TornWalLogTest(kSegment + 1000) {}
};

}  // namespace

TEST_F(TornWalLogTest, TornSegmentIsDroppedAtEveryByte) {
    for (std::uint64_t missing = 0; missing <= 120; ++missing) {
        const TemporaryDirectory temporary;
        write_log(temporary.path());
        const fs::path file = temporary.path() / partial();
        fs::resize_file(file, fs::file_size(file) - missing);
        expect_batches(temporary.path(), 3 - static_cast<int>((missing + 39) / 40), std::to_string(missing));
    }
}

TEST_F(TornWalLogTest, TornSumsAreDroppedAtEveryByte) {
    for (std::uint64_t missing = 0; missing <= 3 * kWalSumBytes; ++missing) {
        const TemporaryDirectory temporary;
        write_log(temporary.path());
        const fs::path file = temporary.path() / sums();
        fs::resize_file(file, fs::file_size(file) - missing);
        expect_batches(temporary.path(), 3 - static_cast<int>((missing + kWalSumBytes - 1) / kWalSumBytes),
                       std::to_string(missing));
    }
}

// A file system may have given a file its length, but not yet its bytes.
TEST_F(TornWalLogTest, TailOfZeroesIsDroppedAtEveryByte) {
    for (std::uint64_t zeroes = 1; zeroes <= 120; ++zeroes) {
        const TemporaryDirectory temporary;
        write_log(temporary.path());
        const fs::path file = temporary.path() / partial();
        const std::uint64_t bytes = fs::file_size(file);
        fs::resize_file(file, bytes - zeroes);
        fs::resize_file(file, bytes + 5000);
        expect_batches(temporary.path(), 3 - static_cast<int>((zeroes + 39) / 40), std::to_string(zeroes));
    }
    for (std::uint64_t zeroes = 1; zeroes <= 3 * kWalSumBytes; ++zeroes) {
        const TemporaryDirectory temporary;
        write_log(temporary.path());
        const fs::path file = temporary.path() / sums();
        const std::uint64_t bytes = fs::file_size(file);
        fs::resize_file(file, bytes - zeroes);
        fs::resize_file(file, bytes + 5000);
        // The first byte of a sum that ends in zeroes may be one.
        expect_batches(temporary.path(), 3 - static_cast<int>((zeroes + kWalSumBytes - 1) / kWalSumBytes),
                       std::to_string(zeroes));
    }
}

TEST_F(TornWalLogTest, FlippedBitCutsAtEveryByte) {
    for (std::uint64_t offset = 1000; offset < 1120; ++offset) {
        const TemporaryDirectory temporary;
        write_log(temporary.path());
        flip_bit(temporary.path() / partial(), offset);
        expect_batches(temporary.path(), static_cast<int>((offset - 1000) / 40), std::to_string(offset));
    }
    for (std::uint64_t offset = 0; offset < 3 * kWalSumBytes; ++offset) {
        const TemporaryDirectory temporary;
        write_log(temporary.path());
        flip_bit(temporary.path() / sums(), WalSumsFile::offset_of(1) + offset);
        expect_batches(temporary.path(), static_cast<int>(offset / kWalSumBytes), std::to_string(offset));
    }
}

TEST_F(TornLaterSegmentTest, TornSegmentIsDroppedAtEveryPlace) {
    for (std::uint64_t missing = 0; missing <= 120; missing += 13) {
        const TemporaryDirectory temporary;
        write_log(temporary.path());
        const fs::path file = temporary.path() / partial();
        fs::resize_file(file, fs::file_size(file) - missing);
        expect_batches(temporary.path(), 3 - static_cast<int>((missing + 39) / 40), std::to_string(missing));
    }
}

TEST_F(WalLogTest, FirstSegmentThatWasNeverSyncedMayBeMissing) {
    for (const char* lost : {".partial", ".sums"}) {
        const TemporaryDirectory temporary;
        {
            WalLog log{temporary.path(), kOptions};
            write(log, at(1000));
        }
        fs::remove(temporary.path() / (name_of(0) + lost));
        WalLog log{temporary.path(), kOptions};
        EXPECT_TRUE(log.cut()) << lost;
        EXPECT_EQ(log.next(), WalPosition{}) << lost;
        EXPECT_TRUE(names(temporary.path()).empty()) << lost;
        write(log, at(1000));
        EXPECT_EQ(read(log, kFirst, kStart, at(1000)), wal(kStart, at(1000))) << lost;
    }
}

// What the disk has of files that were not synced, it has in any order.
TEST_F(WalLogTest, SegmentsThatWereNeverSyncedMayBeMissing) {
    for (const std::uint64_t number : {0, 1, 2, 3}) {
        for (const char* lost : {".partial", ".sums"}) {
            const TemporaryDirectory temporary;
            {
                WalLog log{temporary.path(), kOptions};
                write(log, at(3 * kSegment + 1000));
            }
            fs::remove(temporary.path() / (name_of(number) + lost));
            WalLog log{temporary.path(), kOptions};
            ASSERT_TRUE(log.cut());
            EXPECT_EQ(log.readable().lsn, number == 0 ? Lsn{} : at(number * kSegment));
            EXPECT_EQ(names(temporary.path()).size(), 2 * number);
            write(log, at(4 * kSegment));
            EXPECT_EQ(read(log, kFirst, kStart, at(4 * kSegment)), wal(kStart, at(4 * kSegment)));
            EXPECT_EQ(found_by_reading_all(temporary.path()), "");
        }
    }
}

TEST_F(WalLogTest, StartCompletesSegmentsThatAreFull) {
    {
        WalLog log{directory_, kOptions};
        write(log, at(2 * kSegment));
    }
    {
        const WalLog log{directory_, kOptions};
        EXPECT_FALSE(log.cut());
        EXPECT_EQ(log.durable().lsn, at(2 * kSegment));
        EXPECT_EQ(read_file(file(name_of(0))), wal(kStart, at(kSegment)));
        EXPECT_EQ(read_file(file(name_of(1))), wal(at(kSegment), at(2 * kSegment)));
    }
    // The new sums may be there without the name.
    fs::rename(file(name_of(1)), file(name_of(1) + ".partial"));
    std::ofstream{file(name_of(1) + ".sums.tmp")} << "half of";
    WalLog log{directory_, kOptions};
    EXPECT_FALSE(log.cut());
    EXPECT_EQ(names(directory_),
              (std::vector{name_of(0), name_of(0) + ".sums", name_of(1), name_of(1) + ".sums"}));
    write(log, at(2 * kSegment + 1));
    EXPECT_EQ(found_by_reading_all(directory_), "");
}

TEST_F(WalLogTest, KilledAtAnyCallNothingHalfHasAFinalName) {
    const auto write_some = [](WalLog& log) {
        write(log, at(kSegment - 3000));
        log.sync();
        write(log, at(2 * kSegment + 5000));
    };
    for (int calls = 1;; ++calls) {
        const TemporaryDirectory temporary;
        std::optional<WalLog> log;
        const bool is_killed = killed_at_call(
            calls, [&] { log.emplace(temporary.path(), kOptions); },
            [&] {
                write_some(*log);
                log->sync();
                log->remove_before(at(kSegment));
            });
        for (const auto& [name, content] : contents(temporary.path())) {
            const auto parsed = WalFileName::parse(name);
            if (!parsed || parsed->kind != WalFileName::Kind::kComplete) continue;
            ASSERT_EQ(content,
                      name == name_of(0) ? wal(kStart, at(kSegment)) : wal(at(kSegment), at(2 * kSegment)))
                << calls;
        }
        const WalLog again{temporary.path(), kOptions};
        const Lsn end = again.readable().lsn;
        const Lsn begin = again.begin().lsn;
        ASSERT_EQ(read(again, kFirst, begin, end), wal(begin, end)) << calls;
        ASSERT_EQ(found_by_reading_all(temporary.path()), "") << calls;
        if (is_killed) continue;
        EXPECT_EQ(begin, at(kSegment));
        EXPECT_EQ(end, at(2 * kSegment + 5000));
        EXPECT_GT(calls, 30);
        return;
    }
}

// -- Damage that no crash does --

namespace {

class DamagedWalLogTest : public WalLogTest {
  protected:
    static constexpr std::uint64_t kTail = 3 * 200;  // bytes in the segment under way, in batches of 200

    // Two complete segments, and one under way. The last batch says that those before are on disk.
    DamagedWalLogTest() {
        WalLog log{directory_, kOptions};
        write(log, at(2 * kSegment));
        write(log, at(2 * kSegment + 200));
        write(log, at(2 * kSegment + 400));
        log.sync();
        write(log, at(2 * kSegment + kTail));
    }

    // The start refuses, names it, and changes nothing; so does reading all.
    void expect_damage(const std::string& name, std::uint64_t offset, const std::string& what = "") const {
        const auto before = contents(directory_);
        const std::string expected = file(name).string() + ", offset " + std::to_string(offset) + ": " + what;
        EXPECT_THAT(refusal(directory_), StartsWith(expected));
        EXPECT_THAT(found_by_reading_all(directory_), StartsWith(expected));
        EXPECT_EQ(contents(directory_), before);
    }
};

}  // namespace

TEST_F(DamagedWalLogTest, WholeLogIsNone) {
    EXPECT_EQ(refusal(directory_), "");
    const WalScan scan = scan_wal(directory_, ScanDepth::kAll);
    EXPECT_FALSE(scan.torn);
    EXPECT_EQ(scan.segment_bytes, kSegment);
    EXPECT_EQ(scan.segments.size(), 3U);
    EXPECT_EQ(scan.begin, (WalPosition{kFirst, kStart}));
    EXPECT_EQ(scan.end, (WalPosition{kFirst, at(2 * kSegment + kTail)}));
    EXPECT_EQ(scan.durable, (WalPosition{kFirst, at(2 * kSegment + 400)}));
    EXPECT_EQ(scan.bytes_checked, 2 * kSegment + kTail);
}

TEST_F(DamagedWalLogTest, StartReadsOnlyWhatIsUnderWay) {
    EXPECT_EQ(scan_wal(directory_, ScanDepth::kTail).bytes_checked, kTail);
    flip_bit(file(name_of(0)), 5);
    flip_bit(file(name_of(1) + ".sums"), 40);
    EXPECT_EQ(refusal(directory_), "");
    EXPECT_NE(found_by_reading_all(directory_), "");
}

TEST_F(DamagedWalLogTest, FlippedBitInACompleteSegmentIsNamedByReadingAll) {
    for (const std::uint64_t number : {0, 1})
        for (std::uint64_t offset = 0; offset < kSegment; offset += 77'777) {
            flip_bit(file(name_of(number)), offset);
            EXPECT_EQ(found_by_reading_all(directory_),
                      file(name_of(number)).string() + ", offset " +
                          std::to_string(offset / kWalBlockBytes * kWalBlockBytes) + ": the WAL is damaged");
            flip_bit(file(name_of(number)), offset);
        }
    EXPECT_EQ(found_by_reading_all(directory_), "");
}

TEST_F(DamagedWalLogTest, FlippedBitInTheSumsOfACompleteSegmentIsNamedByReadingAll) {
    const std::string name = name_of(1) + ".sums";
    for (std::uint64_t offset = 0; offset < fs::file_size(file(name)); ++offset) {
        const std::uint64_t start =
            offset < kWalSumsHeaderBytes
                ? 0
                : WalSumsFile::offset_of((offset - kWalSumsHeaderBytes) / kWalSumBytes);
        flip_bit(file(name), offset);
        EXPECT_THAT(found_by_reading_all(directory_),
                    StartsWith(file(name).string() + ", offset " + std::to_string(start) + ": "));
        flip_bit(file(name), offset);
    }
    EXPECT_EQ(found_by_reading_all(directory_), "");
}

TEST_F(DamagedWalLogTest, SumsOfACompleteSegmentThatAreCutShortAreNamedByReadingAll) {
    const std::string name = name_of(0) + ".sums";
    for (std::uint64_t bytes = fs::file_size(file(name)); bytes-- > 0;) {
        fs::resize_file(file(name), bytes);
        const std::uint64_t whole =
            bytes < kWalSumsHeaderBytes ? 0 : bytes - (bytes - kWalSumsHeaderBytes) % kWalSumBytes;
        EXPECT_THAT(found_by_reading_all(directory_),
                    StartsWith(file(name).string() + ", offset " + std::to_string(whole) + ": "));
    }
}

TEST_F(DamagedWalLogTest, ReadingAllNamesEveryCorruptionAndTheTornTail) {
    const auto found = [&] {
        const WalScan scan = scan_wal(directory_, ScanDepth::kAll);
        EXPECT_EQ(scan.segments.size(), 3U - (fs::exists(file(name_of(1))) ? 0 : 1));
        return flaw_names(scan);
    };
    const std::string partial = name_of(2) + ".partial";
    flip_bit(file(name_of(0)), 5);
    flip_bit(file(name_of(0)), 3 * kWalBlockBytes);
    flip_bit(file(name_of(0) + ".sums"), WalSumsFile::offset_of(7));
    flip_bit(file(name_of(1) + ".sums"), WalSumsFile::offset_of(1));
    flip_bit(file(partial), 0);
    flip_bit(file(partial), 399);
    flip_bit(file(partial), 400);
    const std::vector<std::string> first{name_of(0) + " 0",
                                         name_of(0) + " " + std::to_string(3 * kWalBlockBytes),
                                         name_of(0) + ".sums " + std::to_string(WalSumsFile::offset_of(7))};
    const std::vector<std::string> last{partial + " 0", partial + " 200", "torn " + partial};
    const auto with = [&](const std::string& name) {
        std::vector<std::string> names = first;
        names.push_back(name);
        names.insert(names.end(), last.begin(), last.end());
        return names;
    };
    EXPECT_EQ(found(), with(name_of(1) + ".sums " + std::to_string(WalSumsFile::offset_of(1))));
    fs::remove(file(name_of(1)));
    EXPECT_EQ(found(), with(name_of(1) + ".partial 0"));
    fs::remove(file(name_of(1) + ".sums"));
    EXPECT_EQ(found(), with(name_of(1) + " 0"));
}

TEST_F(DamagedWalLogTest, FlippedBitBelowTheMarkIsRefusedAtEveryByte) {
    const std::string partial = name_of(2) + ".partial";
    for (std::uint64_t offset = 0; offset < 400; ++offset) {
        flip_bit(file(partial), offset);
        expect_damage(partial, offset / 200 * 200, "the WAL is damaged");
        flip_bit(file(partial), offset);
    }
    const std::string sums = name_of(2) + ".sums";
    for (std::uint64_t offset = 0; offset < WalSumsFile::offset_of(2); ++offset) {
        flip_bit(file(sums), offset);
        expect_damage(
            sums, offset < kWalSumsHeaderBytes
                      ? 0
                      : (offset - kWalSumsHeaderBytes) / kWalSumBytes * kWalSumBytes + kWalSumsHeaderBytes);
        flip_bit(file(sums), offset);
    }
    EXPECT_EQ(refusal(directory_), "");
}

TEST_F(DamagedWalLogTest, FlippedBitAboveTheMarkIsCutAtEveryByte) {
    const auto whole = contents(directory_);
    const auto expect_cut = [&](const std::string& name, std::uint64_t offset) {
        const TemporaryDirectory temporary;
        for (const auto& [each, content] : whole) std::ofstream{temporary.path() / each} << content;
        flip_bit(temporary.path() / name, offset);
        const WalLog log{temporary.path(), kOptions};
        ASSERT_TRUE(log.cut()) << name << offset;
        EXPECT_EQ(log.cut()->bytes, 200U);
        EXPECT_THAT(log.cut()->reason, HasSubstr(name));
        EXPECT_EQ(log.readable().lsn, at(2 * kSegment + 400));
    };
    for (std::uint64_t offset = 400; offset < kTail; offset += 7) expect_cut(name_of(2) + ".partial", offset);
    for (std::uint64_t offset = 0; offset < kWalSumBytes; ++offset)
        expect_cut(name_of(2) + ".sums", WalSumsFile::offset_of(2) + offset);
}

TEST_F(DamagedWalLogTest, SegmentUnderWayThatIsCutBelowTheMarkIsRefused) {
    const std::string partial = name_of(2) + ".partial";
    for (const std::uint64_t bytes : {399, 200, 199, 0}) {
        fs::resize_file(file(partial), bytes);
        expect_damage(partial, bytes / 200 * 200, "the WAL is cut short");
    }
    fs::remove(file(partial));
    expect_damage(partial, 0, "the file is missing");
}

TEST_F(DamagedWalLogTest, OnlySegmentThatIsMissingIsRefused) {
    for (const std::string& name : names(directory_))
        if (name != name_of(2) + ".sums") fs::remove(file(name));
    expect_damage(name_of(2) + ".partial", 0, "the file is missing");
}

TEST_F(DamagedWalLogTest, SegmentThatIsMissingIsRefused) {
    fs::remove(file(name_of(1)));
    expect_damage(name_of(1) + ".partial", 0, "the file is missing");
    fs::remove(file(name_of(1) + ".sums"));
    expect_damage(name_of(1), 0, "the WAL that begins here is missing; there is " + name_of(2));
}

TEST_F(DamagedWalLogTest, SumsThatAreMissingAreRefused) {
    for (const std::uint64_t number : {1, 0}) {
        fs::remove(file(name_of(number) + ".sums"));
        expect_damage(name_of(number) + ".sums", 0, "the file is missing");
    }
}

TEST_F(DamagedWalLogTest, CompleteSegmentOfAnotherSizeIsRefused) {
    const auto resized = [&](std::uint64_t bytes) { fs::resize_file(file(name_of(0)), bytes); };
    resized(kSegment - 1);
    expect_damage(name_of(0), kSegment - 1, "it has 1048575 bytes, which no segment has");
    resized(kSegment + 1);
    expect_damage(name_of(0), kSegment, "it has 1048577 bytes, which no segment has");
    resized(0);
    expect_damage(name_of(0), 0, "it has 0 bytes, which no segment has");
    resized(2 * kSegment);  // its sums say of what size it was
    expect_damage(name_of(0), kSegment, "it has 2097152 bytes");
    for (const std::uint64_t number : {0, 1, 2}) fs::resize_file(file(name_of(number) + ".sums"), 0);
    resized(5);
    fs::resize_file(file(name_of(1)), 6);
    expect_damage(name_of(0), 0, "it has 5 bytes, which no segment has");
}

TEST_F(WalLogTest, DirectoryThatMixesSegmentSizesSaysSo) {
    const WalLogOptions others{.segment_bytes = 2 * kSegment};
    const auto refusal_of = [](const fs::path& directory, WalLogOptions options) -> std::string {
        try {
            const WalLog log{directory, options};
        } catch (const LogCorrupt&) {
            return "corrupt";
        } catch (const Error& problem) {
            return problem.what();
        }
        return "";
    };
    for (const std::uint64_t bytes : {kSegment / 2, kSegment, kSegment + 5}) {
        const TemporaryDirectory here;
        const TemporaryDirectory there;
        {
            WalLog log{here.path(), kOptions};
            write(log, at(bytes));
            WalLog other{there.path(), others};
            other.begin_at(kFirst, at(2 * kSegment));
            other.append(kFirst, at(2 * kSegment), wal(at(2 * kSegment), at(4 * kSegment)));
            other.flush();
            log.sync();
            other.sync();
        }
        EXPECT_THAT(refusal_of(here.path(), others),
                    HasSubstr("has segments of 1048576 bytes, the upstream's are of 2097152"));
        for (const std::string& name : names(there.path()))
            fs::copy_file(there.path() / name, here.path() / name);
        for (const WalLogOptions& options : {kOptions, others})
            EXPECT_THAT(refusal_of(here.path(), options), HasSubstr("mixes segment sizes")) << bytes;
        EXPECT_THROW(scan_wal(here.path(), ScanDepth::kAll), Error);
    }
}

TEST_F(WalLogTest, NameThatNoSegmentOfTheSizeHasIsAMixtureToo) {
    {
        WalLog log{directory_, {.segment_bytes = 16 * kSegment}};
        log.begin_at(kFirst, {0x5000000});
        log.append(kFirst, {0x5000000}, "bytes");
        log.flush();
    }
    std::ofstream{file("000000010000000000000100.partial")} << "x";
    EXPECT_THROW(scan_wal(directory_, ScanDepth::kTail), Error);
}

TEST_F(WalLogTest, ScanOfAnEmptyDirectoryFindsNothing) {
    const WalScan scan = scan_wal(directory_, ScanDepth::kAll);
    EXPECT_TRUE(scan.segments.empty());
    EXPECT_FALSE(scan.torn);
    EXPECT_TRUE(scan.corruptions.empty());
    EXPECT_THROW(scan_wal(directory_ / "nowhere", ScanDepth::kAll), SystemError);
}

TEST_F(WalLogTest, FullSegmentThatIsTooLongIsCutToItsSize) {
    {
        WalLog log{directory_, kOptions};
        write(log, at(kSegment + 100));
    }
    fs::resize_file(file(name_of(0) + ".partial"), kSegment + 77);
    const WalLog log{directory_, kOptions};
    EXPECT_EQ(fs::file_size(file(name_of(0))), kSegment);
    EXPECT_EQ(refusal(directory_), "");
    EXPECT_EQ(found_by_reading_all(directory_), "");
}

// What `log verify` sees of a log that is in use is at worst a torn tail. (A single scan may miss a file that
// is renamed while the directory is listed.)
TEST_F(WalLogTest, ScanBesideTheWriterFindsNoDamage) {
    WalLog log{directory_, kOptions};
    log.begin_at(kFirst, kStart);
    std::atomic<bool> is_over{false};
    std::thread writing{[&] {
        for (std::uint64_t bytes = 0; bytes < 8 * kSegment; bytes += 20'011) write(log, at(bytes + 20'011));
        is_over = true;
    }};
    std::thread syncing{[&] {
        while (!is_over) log.sync();
    }};
    while (!is_over) {
        const WalScan scan = inspect_wal(directory_, ScanDepth::kAll);
        EXPECT_TRUE(scan.corruptions.empty()) << scan.corruptions.front().to_string();
    }
    writing.join();
    syncing.join();
}

}  // namespace pgcascade::log
