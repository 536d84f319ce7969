#pragma once

#include <compare>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include <pgcascade/lsn.hpp>

// What the files of a log of WAL are called. PostgreSQL's own files have PostgreSQL's own names
// (access/xlog_internal.h), so that its programs find them. docs/log_format.md has the grammar.

namespace pgcascade::log {

// A byte of WAL: more than one timeline may have one at an LSN. In the order of the log: a timeline begins
// where an older one ends.
struct WalPosition {
    TimelineId timeline;
    Lsn lsn;

    constexpr auto operator<=>(const WalPosition&) const = default;

    std::string to_string() const;  // "16/B374D848 on timeline 2"
};

// The sizes that initdb --wal-segsize takes.
constexpr std::uint64_t kSmallestWalSegment = std::uint64_t{1} << 20;
constexpr std::uint64_t kLargestWalSegment = std::uint64_t{1} << 30;
constexpr bool is_wal_segment_size(std::uint64_t bytes) {
    return bytes >= kSmallestWalSegment && bytes <= kLargestWalSegment && (bytes & (bytes - 1)) == 0;
}

// A segment as its name has it: where it begins, only the size of the segments tells.
struct WalSegmentNumber {
    TimelineId timeline;
    std::uint32_t high = 0;  // of its start LSN
    std::uint32_t low = 0;   // how many segments with this `high` come before it

    constexpr auto operator<=>(const WalSegmentNumber&) const = default;

    // Nothing where there is no such segment of that size.
    std::optional<WalPosition> start(std::uint64_t segment_bytes) const;
};

struct WalFileName {
    enum class Kind : std::uint8_t { kComplete, kPartial, kSums, kTemporarySums };

    WalSegmentNumber segment;
    Kind kind = Kind::kComplete;

    constexpr bool operator==(const WalFileName&) const = default;

    std::string to_string() const;  // "0000000100000016000000B3.partial"

    // Nothing for what is no file of a segment.
    static std::optional<WalFileName> parse(std::string_view name);
};

// Nothing for what is not "00000002.history".
std::optional<TimelineId> parse_history_name(std::string_view name);

// Where the files of a log are. `start` is where a segment begins.
struct WalDirectory {
    std::filesystem::path path;
    std::uint64_t segment_bytes = 0;

    WalSegmentNumber number(WalPosition start) const;
    Lsn segment_start(Lsn lsn) const { return {lsn.value / segment_bytes * segment_bytes}; }
    Lsn segment_end(WalPosition start) const { return {start.lsn.value + segment_bytes}; }

    std::filesystem::path complete_file(WalPosition start) const;
    std::filesystem::path partial_file(WalPosition start) const;
    std::filesystem::path sums_file(WalPosition start) const;
    std::filesystem::path history_file(TimelineId timeline) const;
};

}  // namespace pgcascade::log
