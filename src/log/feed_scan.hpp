#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "log/feed_index.hpp"

namespace pgcascade::log {

enum class ScanDepth {
    kTail,  // what may not have been on disk when the writer died, and that the rest is there
    kAll,   // every byte
};

// Where the entries that can be relied on end.
struct FeedDamage {
    std::filesystem::path file;
    std::uint64_t offset = 0;
    std::string what;
    FeedPosition position;

    std::string to_string() const;  // file, offset and what it is
};

// What a feed's directory holds.
struct FeedScan {
    std::vector<FeedPosition> segments;   // those that hold the entries, oldest first
    std::vector<FeedPosition> leftovers;  // after them: to be removed
    FeedPosition begin;                   // of the first entry
    FeedPosition end;                     // of the last whole one
    std::optional<FeedEntry> last;        // nothing: there is none
    std::uint64_t entries_scanned = 0;    // and whose bytes were held against their CRC
    std::size_t entries_in_last_segment = 0;
    std::uint64_t tail_bytes = 0;      // after `end`
    FeedPosition durable;              // all below this was on disk for certain
    std::optional<FeedDamage> damage;  // why the entries end where they do; nothing: no reason but the end

    // Something is missing or damaged that was on disk: no crash does that.
    bool is_corrupt() const { return damage && damage->position < durable; }
};

// Reads only. A writer may be at work: what it has not finished counts as the tail. Throws SystemError.
FeedScan scan_feed(const std::filesystem::path& directory, ScanDepth depth);

}  // namespace pgcascade::log
