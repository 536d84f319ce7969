#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <pgcascade/lsn.hpp>

#include "log/feed_position.hpp"

// What a segment's index file holds, pure: bytes in, values out. docs/log_format.md has the grammar and a
// worked example.

namespace pgcascade::log {

struct FeedSegmentHeader {
    FeedPosition position;  // of the segment's first byte
    Lsn after;              // commit_lsn of the last entry before it; 0/0 where there is none
    std::string preamble;   // frames that a session needs first which starts in this segment

    bool operator==(const FeedSegmentHeader&) const = default;
};

// One transaction, one message that is part of none, or one keepalive: nothing of the feed lies before its
// position that does not stand before it here.
struct FeedEntry {
    static constexpr std::uint32_t kHasDefinitions = 1;  // it announces a relation or a type (R, Y)
    static constexpr std::uint32_t kIsLoneMessage = 2;   // no transaction
    static constexpr std::uint32_t kIsKeepalive = 4;     // no transaction

    FeedPosition begin;
    FeedPosition end;
    Lsn commit_lsn;        // START_REPLICATION's position skips it where this is below
    Lsn end_lsn;           // what a reader confirms who has taken it
    FeedPosition durable;  // all below this was on disk when the entry was written
    std::uint32_t flags = 0;
    std::uint32_t crc = 0;  // CRC-32C of its bytes

    bool operator==(const FeedEntry&) const = default;
};

constexpr std::size_t kFeedEntryBytes = 52;
constexpr std::size_t kLargestPreamble = std::size_t{64} << 20;  // more is no preamble but damage

std::string to_bytes(const FeedSegmentHeader& header);
std::string to_bytes(const FeedEntry& entry);

struct ParsedHeader {
    FeedSegmentHeader header;
    std::size_t bytes = 0;  // where the first entry stands
};

// From the begin of an index file. Nothing where the bytes are cut short or damaged.
std::optional<ParsedHeader> parse_feed_segment_header(std::string_view index);

// From exactly kFeedEntryBytes; nothing where they are damaged.
std::optional<FeedEntry> parse_feed_entry(std::string_view record);

}  // namespace pgcascade::log
