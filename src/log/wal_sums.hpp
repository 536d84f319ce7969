#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <pgcascade/lsn.hpp>

#include "log/wal_name.hpp"

// What the .sums file of a segment of WAL holds, pure: bytes in, values out. docs/log_format.md has the
// grammar and a worked example.

namespace pgcascade::log {

struct WalSumsHeader {
    WalPosition start;  // of the segment
    std::uint64_t segment_bytes = 0;

    bool operator==(const WalSumsHeader&) const = default;
};

// Of the bytes from the end of the sum before, or from the segment's start, up to its own: what was written
// at once while the segment is under way, kWalBlockBytes once it is complete.
struct WalSum {
    Lsn end;
    std::uint32_t crc = 0;  // CRC-32C
    Lsn durable;            // all of this timeline below it was on disk then; 0/0: none of it for certain

    bool operator==(const WalSum&) const = default;
};

constexpr std::size_t kWalSumsHeaderBytes = 32;
constexpr std::size_t kWalSumBytes = 24;

// The unit in which damage is named. As much as a walsender puts into one message.
constexpr std::uint64_t kWalBlockBytes = 128 * 1024;

std::string to_bytes(const WalSumsHeader& header);
std::string to_bytes(const WalSum& sum);

// From the begin of the file; nothing where the bytes are cut short or damaged.
std::optional<WalSumsHeader> parse_wal_sums_header(std::string_view file);

// From exactly kWalSumBytes; nothing where they are damaged.
std::optional<WalSum> parse_wal_sum(std::string_view record);

}  // namespace pgcascade::log
