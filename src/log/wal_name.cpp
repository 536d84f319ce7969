#include "log/wal_name.hpp"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

namespace pgcascade::log {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t kNumberDigits = 8;
constexpr std::size_t kSegmentDigits = 3 * kNumberDigits;

constexpr std::string_view kHistory = ".history";

bool are_digits(std::string_view text) {
    return std::all_of(text.begin(), text.end(),
                       [](char c) { return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'F'); });
}

std::uint32_t number_at(std::string_view name, std::size_t offset) {
    std::uint32_t number = 0;
    std::from_chars(name.data() + offset, name.data() + offset + kNumberDigits, number, 16);
    return number;
}

std::string_view suffix_of(WalFileName::Kind kind) {
    switch (kind) {
        case WalFileName::Kind::kComplete:
            return "";
        case WalFileName::Kind::kPartial:
            return ".partial";  // as pg_receivewal has it
        case WalFileName::Kind::kSums:
            return ".sums";
        case WalFileName::Kind::kTemporarySums:
            return ".sums.tmp";  // of write_file_durably()
    }
    return "";
}

}  // namespace

std::string WalPosition::to_string() const {
    return fmt::format("{} on timeline {}", lsn.to_string(), timeline.value);
}

std::optional<WalPosition> WalSegmentNumber::start(std::uint64_t segment_bytes) const {
    const std::uint64_t offset = low * segment_bytes;
    if (offset >> 32 != 0) return std::nullopt;
    return WalPosition{timeline, {(std::uint64_t{high} << 32) | offset}};
}

std::string WalFileName::to_string() const {
    return fmt::format("{:08X}{:08X}{:08X}{}", segment.timeline.value, segment.high, segment.low,
                       suffix_of(kind));
}

std::optional<WalFileName> WalFileName::parse(std::string_view name) {
    if (name.size() < kSegmentDigits || !are_digits(name.substr(0, kSegmentDigits))) return std::nullopt;
    const WalSegmentNumber segment{.timeline = {number_at(name, 0)},
                                   .high = number_at(name, kNumberDigits),
                                   .low = number_at(name, 2 * kNumberDigits)};
    for (const Kind kind : {Kind::kComplete, Kind::kPartial, Kind::kSums, Kind::kTemporarySums})
        if (name.substr(kSegmentDigits) == suffix_of(kind)) return WalFileName{segment, kind};
    return std::nullopt;
}

std::optional<TimelineId> parse_history_name(std::string_view name) {
    if (name.size() != kNumberDigits + kHistory.size() || !name.ends_with(kHistory)) return std::nullopt;
    if (!are_digits(name.substr(0, kNumberDigits))) return std::nullopt;
    return TimelineId{number_at(name, 0)};
}

WalSegmentNumber WalDirectory::number(WalPosition start) const {
    return {.timeline = start.timeline,
            .high = static_cast<std::uint32_t>(start.lsn.value >> 32),
            .low = static_cast<std::uint32_t>((start.lsn.value & 0xFFFFFFFF) / segment_bytes)};
}

fs::path WalDirectory::complete_file(WalPosition start) const {
    return path / WalFileName{number(start), WalFileName::Kind::kComplete}.to_string();
}

fs::path WalDirectory::partial_file(WalPosition start) const {
    return path / WalFileName{number(start), WalFileName::Kind::kPartial}.to_string();
}

fs::path WalDirectory::sums_file(WalPosition start) const {
    return path / WalFileName{number(start), WalFileName::Kind::kSums}.to_string();
}

fs::path WalDirectory::history_file(TimelineId timeline) const {
    return path / fmt::format("{:08X}{}", timeline.value, kHistory);
}

}  // namespace pgcascade::log
