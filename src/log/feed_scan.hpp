#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

#include "log/feed_index.hpp"
#include "log/scan.hpp"

namespace pgcascade::log {

// What a feed's directory holds.
struct FeedScan {
    struct Segment {
        FeedPosition position;
        FeedPosition end;  // of its last whole entry
        std::size_t entries = 0;
        std::optional<FeedEntry> first = {};  // nothing: it holds none
        std::optional<FeedEntry> last = {};
    };

    std::vector<Segment> segments;        // those that hold the entries, oldest first
    std::vector<FeedPosition> leftovers;  // before or after them: to be removed
    FeedPosition begin;                   // of the first entry
    FeedPosition end;                     // of the last whole one
    std::optional<FeedEntry> last;        // nothing: there is none
    std::uint64_t entries_scanned = 0;    // whose bytes are those of their CRC
    std::uint64_t bytes_checked = 0;      // held against a CRC
    std::uint64_t tail_bytes = 0;         // after `end`
    FeedPosition durable;                 // all below this was on disk for certain

    // Why the entries end where they do, above what was on disk; nothing: no reason but the end.
    std::optional<Flaw> torn;

    // Of what was on disk: no crash does that. At kTail the scan ends with the first.
    std::vector<Flaw> corruptions;
};

// Reads only. Nobody may remove meanwhile: inspect_feed() is for that. What a writer has not finished counts
// as the tail. Throws SystemError.
FeedScan scan_feed(const std::filesystem::path& directory, ScanDepth depth, const OnRead& on_read = {});

}  // namespace pgcascade::log
