#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <fmt/format.h>

#include <pgcascade/error.hpp>

#include "base/crc32c.hpp"
#include "fuzz/log_files.hpp"
#include "log/feed_log.hpp"
#include "log/feed_scan.hpp"

// Opens a feed's log after a crash, after damage, and of arbitrary entries, as the first byte of the input
// says. What is opened must be the log that was written as far as it goes, must reach as far as the disk had
// it for certain, and must be the same when it is opened again.

namespace {

using namespace pgcascade;
using namespace pgcascade::log;
using namespace pgcascade::fuzz;

constexpr int kEntries = 12;

FeedLogOptions small_segments() {
    FeedLogOptions options;
    options.segment_bytes = 100;
    options.preamble = [] { return std::string{"what is in force here"}; };
    return options;
}

std::string frames_of(int number) {
    std::string frames = fmt::format("{}:", number);
    frames.resize(20 + static_cast<std::size_t>(number) * 7 % 31, static_cast<char>('a' + number));
    return frames;
}

std::string all_frames() {
    std::string frames;
    for (int number = 0; number < kEntries; ++number) frames += frames_of(number);
    return frames;
}

struct FeedImage : Image {
    FeedPosition durable;
};

void break_off(FeedLog& log) {
    log.append(std::string(130, 'v'));
    log.flush();
    log.abandon_entry();
}

// A failover of the upstream: an entry is cut away again.
void fail_over(FeedLog& log) {
    const Lsn end = log.last()->end_lsn;
    log.append(std::string(130, 'v'));
    log.finish_entry({end.value + 1}, {end.value + 1});
    log.cut_back(end);
}

// Some entries, of which those before `synced` were brought to disk. In one of two, the oldest are removed,
// the upstream is failed over then, and breaks off a transaction before each that follows.
FeedImage make_image(int synced, bool is_eventful) {
    FeedImage image;
    const TemporaryDirectory temporary;
    FeedLog log{temporary.path(), small_segments()};
    image.settled = sizes(read_files(temporary.path()));
    for (int number = 0; number < kEntries; ++number) {
        if (number == synced) {
            image.durable = log.sync();
            if (is_eventful) log.remove_before(image.durable);
            if (is_eventful) fail_over(log);
            image.settled = sizes(read_files(temporary.path()));
        }
        if (is_eventful && number > synced) break_off(log);
        log.append(frames_of(number));
        const Lsn commit{1000 + static_cast<std::uint64_t>(number)};
        log.finish_entry(commit, {commit.value + 1});
        log.flush();
    }
    image.files = read_files(temporary.path());
    return image;
}

const FeedImage& image_of(unsigned number) {
    static const std::array images{make_image(-1, false), make_image(1, false), make_image(4, false),
                                   make_image(4, true),   make_image(9, false), make_image(11, true)};
    return images.at(number % images.size());
}

std::string read_all(const FeedLog& log) {
    std::string frames;
    for (FeedPosition at = log.begin(); at < log.finished();) {
        const auto segment = log.segment_at(at);
        require(segment != nullptr);
        const FeedPosition end = std::min(log.finished(), segment->end());
        require(end > at);
        frames += read_file(segment->frames_file())
                      .substr(bytes_between(segment->position(), at), bytes_between(at, end));
        at = end;
    }
    return frames;
}

// What the next start finds is what this one left, and it can be gone on with.
void check_opened(const std::filesystem::path& directory, FeedPosition end) {
    const FeedScan scan = scan_feed(directory, ScanDepth::kTail);
    require(scan.corruptions.empty() && !scan.torn && scan.tail_bytes == 0 && scan.leftovers.empty());
    require(scan.end == end);
    {
        FeedLog log{directory, small_segments()};
        require(!log.cut() && log.finished() == end);
        const Lsn commit{log.last() ? log.last()->commit_lsn.value + 1 : 1};
        log.append("one more");
        log.finish_entry(commit, commit);
        log.flush();
    }
    const FeedLog log{directory, small_segments()};
    require(!log.cut() && log.finished() == end + 8 && read_all(log).ends_with("one more"));
}

// The end of the log that was opened; nothing: it was refused.
std::optional<FeedPosition> open(const std::filesystem::path& directory, std::string* frames = nullptr) {
    try {
        const FeedLog log{directory, small_segments()};
        if (frames != nullptr) *frames = read_all(log);
        require(log.begin() <= log.finished() && log.durable() == log.finished());
        return log.finished();
    } catch (const LogCorrupt&) {
        return std::nullopt;
    }
}

void crash(ByteReader input) {
    const FeedImage& image = image_of(input.u8());
    const auto& directory = place_with(damaged(image.files, image.settled, input));
    require(scan_feed(directory, ScanDepth::kAll).corruptions.empty());
    std::string frames;
    const auto end = open(directory, &frames);
    require(end && *end >= image.durable);
    require(all_frames().substr(0, end->value).ends_with(frames));
    require(scan_feed(directory, ScanDepth::kAll).corruptions.empty());
    check_opened(directory, *end);
}

void corrupt(ByteReader input) {
    const FeedImage& image = image_of(input.u8());
    const auto& directory = place_with(damaged(image.files, {}, input));
    const FeedScan scan = scan_feed(directory, ScanDepth::kAll);
    const Files before = read_files(directory);
    std::string frames;
    const auto end = open(directory, &frames);
    if (!end) {
        require(!scan.corruptions.empty() && read_files(directory) == before);
        return;
    }
    // A start does not read all that was on disk for certain; whoever does finds it.
    if (scan.corruptions.empty()) {
        require(*end >= scan.durable);
        require(all_frames().substr(0, end->value).ends_with(frames));
    }
    check_opened(directory, *end);
}

// Segments of arbitrary content, whose checksums are right where the input wants them to be.
// Int8 segments | each: Int16 position | Int8 entries | each: Int16 begin | Int16 end | Int16 durable |
//   Int8 (bit 0: wrong CRC of the frames; 1: of the record) | Int16 bytes of frames
Files made(ByteReader& input) {
    Files files;
    for (unsigned segments = input.u8() % 5; segments > 0; --segments) {
        const FeedPosition position{input.u16()};
        std::string index = to_bytes(FeedSegmentHeader{position, {}, {}});
        const unsigned entries = input.u8() % 8;
        struct Wanted {
            FeedEntry entry;
            unsigned wrong = 0;
        };
        std::vector<Wanted> wanted;
        for (unsigned i = 0; i < entries; ++i) {
            Wanted one;
            one.entry.begin.value = input.u16();
            one.entry.end.value = input.u16();
            one.entry.durable.value = input.u16();
            one.entry.commit_lsn.value = one.entry.end_lsn.value = 1000 + i;
            one.wrong = input.u8();
            wanted.push_back(one);
        }
        const std::string frames(input.u16(), 'f');
        for (auto& [entry, wrong] : wanted) {
            const std::uint64_t bytes = entry.end.value - entry.begin.value;
            entry.crc = crc32c(std::string(bytes < 1 << 16 ? bytes : 0, 'f')) + (wrong & 1U);
            std::string record = to_bytes(entry);
            if ((wrong & 2U) != 0) record.back() = static_cast<char>(record.back() ^ 1);
            index += record;
        }
        files[fmt::format("{:016x}.index", position.value)] = index;
        files[fmt::format("{:016x}.frames", position.value)] = frames;
    }
    return files;
}

void open_any(ByteReader input) {
    Files files = made(input);
    const auto& directory = place_with(damaged(std::move(files), {}, input));
    const FeedScan scan = scan_feed(directory, ScanDepth::kAll);
    const auto end = open(directory);
    require(!scan.corruptions.empty() || (end && *end >= scan.end));
    if (end) check_opened(directory, *end);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    ByteReader input{{reinterpret_cast<const char*>(data), size}};
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
    return 0;
}
