#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include <fmt/format.h>

#include <pgcascade/error.hpp>

#include "base/crc32c.hpp"
#include "fuzz/log_files.hpp"
#include "log/wal_log.hpp"
#include "log/wal_scan.hpp"

// Opens a log of WAL after a crash, after damage, and of arbitrary sums, as the first byte of the input says.
// What is opened must be the WAL that was written as far as it goes, must reach as far as the disk had it for
// certain, and must be the same when it is opened again.

namespace {

using namespace pgcascade;
using namespace pgcascade::log;
using namespace pgcascade::fuzz;

constexpr std::uint64_t kSegment = kSmallestWalSegment;
constexpr WalLogOptions kOptions{.segment_bytes = kSegment};
constexpr TimelineId kFirst{1};
constexpr Lsn kStart{0x5'FFE0'0000};

// Every byte differs from its neighbours, and from what stands there in other segments.
char byte_at(std::uint64_t lsn) {
    return static_cast<char>(lsn * 0x9E3779B97F4A7C15 >> 56);
}

std::string wal(Lsn from, Lsn to) {
    std::string bytes(to.value - from.value, '\0');
    for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = byte_at(from.value + i);
    return bytes;
}

struct WalImage : Image {
    WalPosition durable;
};

// Batches of 100 bytes and more, of which so many were brought to disk; the first is `before` bytes long.
WalImage make_image(std::uint64_t before, int batches, int synced) {
    WalImage image;
    const TemporaryDirectory temporary;
    WalLog log{temporary.path(), kOptions};
    log.begin_at(kFirst, kStart);
    const auto write = [&](std::uint64_t bytes) {
        const Lsn at = log.next().lsn;
        log.append(kFirst, at, wal(at, {at.value + bytes}));
        log.flush();
    };
    const auto sync = [&] {
        image.durable = log.sync();
        image.settled = sizes(read_files(temporary.path()));
    };
    if (before > 0) write(before);
    if (before > 0 && synced == 0) sync();
    for (int batch = 1; batch <= batches; ++batch) {
        write(100 + 10 * static_cast<std::uint64_t>(batch));
        if (batch == synced) sync();
    }
    image.files = read_files(temporary.path());
    return image;
}

const WalImage& image_of(unsigned number) {
    static const std::array images{make_image(0, 6, -1),          make_image(0, 6, 1),
                                   make_image(0, 8, 5),           make_image(kSegment, 4, 2),
                                   make_image(kSegment, 3, 0),    make_image(kSegment - 300, 6, 1),
                                   make_image(kSegment + 9, 5, 4)};
    return images.at(number % images.size());
}

void check_content(const WalLog& log) {
    for (Lsn at = log.begin().lsn; at < log.readable().lsn;) {
        const auto segment = log.segment_at(kFirst, at);
        require(segment != nullptr);
        const std::uint64_t left = std::min(log.readable().lsn, segment->end()).value - at.value;
        require(left > 0);
        std::string bytes(left, '\0');
        require(segment->read(at, bytes.data(), bytes.size()) == left);
        require(bytes == wal(at, {at.value + left}));
        at.value += left;
    }
}

// The end of the log that was opened; nothing: it was refused.
std::optional<WalPosition> open(const std::filesystem::path& directory, bool with_content) {
    try {
        const WalLog log{directory, kOptions};
        require(log.begin().lsn <= log.readable().lsn && log.durable() == log.readable());
        if (with_content) check_content(log);
        return log.readable();
    } catch (const LogCorrupt&) {
        return std::nullopt;
    }
}

// What the next start finds is what this one left, and it can be gone on with.
void check_opened(const std::filesystem::path& directory, WalPosition end) {
    const WalScan scan = scan_wal(directory, ScanDepth::kTail);
    require(scan.corruptions.empty() && !scan.torn && scan.tail_bytes == 0 && scan.leftovers.empty());
    require(scan.end == end);
    {
        WalLog log{directory, kOptions};
        require(!log.cut() && log.readable() == end);
        if (end == WalPosition{}) log.begin_at(kFirst, kStart);
        log.append(log.next().timeline, log.next().lsn, "one more");
        log.flush();
        end = log.readable();
    }
    const WalLog log{directory, kOptions};
    require(!log.cut() && log.readable() == end);
}

void crash(ByteReader input) {
    const WalImage& image = image_of(input.u8());
    const auto& directory = place_with(damaged(image.files, image.settled, input));
    require(scan_wal(directory, ScanDepth::kAll).corruptions.empty());
    const auto end = open(directory, true);
    require(end && *end >= image.durable);
    require(scan_wal(directory, ScanDepth::kAll).corruptions.empty());
    check_opened(directory, *end);
}

void corrupt(ByteReader input) {
    const WalImage& image = image_of(input.u8());
    const auto& directory = place_with(damaged(image.files, {}, input));
    const Files before = read_files(directory);
    const WalScan scan = scan_wal(directory, ScanDepth::kAll);
    const auto end = open(directory, scan.corruptions.empty());
    if (!end) {
        require(!scan.corruptions.empty() && read_files(directory) == before);
        return;
    }
    // A start does not read all that was on disk for certain; whoever does finds it.
    require(!scan.corruptions.empty() || std::max(*end, scan.end) >= scan.durable);
    check_opened(directory, *end);
}

// Segments under way of arbitrary content, whose checksums are right where the input wants them to be.
// Int8 segments | each: Int8 timeline | Int8 number | Int16 bytes | Int8 sums | each:
//   Int16 end | Int16 durable | Int8 (bit 0: wrong CRC of the WAL; 1: of the sum)
Files made(ByteReader& input) {
    Files files;
    for (unsigned segments = input.u8() % 5; segments > 0; --segments) {
        const TimelineId timeline{1 + input.u8() % 3U};
        const WalPosition start{timeline, {kStart.value + input.u8() % 5 * kSegment}};
        const std::string bytes(input.u16(), 'w');
        std::string sums = to_bytes(WalSumsHeader{start, kSegment});
        Lsn at = start.lsn;
        for (unsigned count = input.u8() % 8; count > 0; --count) {
            WalSum sum;
            sum.end.value = start.lsn.value + input.u16();
            const std::uint64_t durable = input.u16();
            if (durable > 0) sum.durable.value = start.lsn.value + durable;
            const unsigned wrong = input.u8();
            const std::uint64_t length = sum.end > at ? sum.end.value - at.value : 0;
            sum.crc = crc32c(std::string(length, 'w')) + (wrong & 1U);
            at = sum.end;
            std::string record = to_bytes(sum);
            if ((wrong & 2U) != 0) record.back() = static_cast<char>(record.back() ^ 1);
            sums += record;
        }
        const WalDirectory directory{"", kSegment};
        files[directory.partial_file(start).string()] = bytes;
        files[directory.sums_file(start).string()] = sums;
    }
    return files;
}

void open_any(ByteReader input) {
    Files files = made(input);
    const auto& directory = place_with(damaged(std::move(files), {}, input));
    const WalScan scan = scan_wal(directory, ScanDepth::kAll);
    const auto end = open(directory, false);
    require(!scan.corruptions.empty() || (end && (scan.segments.empty() || *end >= scan.end)));
    if (end) check_opened(directory, *end);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    ByteReader input{{reinterpret_cast<const char*>(data), size}};
    try {
        switch (input.u8() % 3) {
            case 0:
                crash(input);
                break;
            case 1:
                corrupt(input);
                break;
            default:
                open_any(input);
        }
    } catch (const SystemError&) {
        throw;
    } catch (const Error&) {  // files of several sizes are no log
    }
    return 0;
}
