#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

#include <pgcascade/lsn.hpp>

#include "log/scan.hpp"
#include "log/wal_name.hpp"

namespace pgcascade::log {

// What the directory of a log of WAL holds.
struct WalScan {
    struct Segment {
        WalPosition start;
        Lsn from;  // what lies below it repeats the timeline before; that timeline ended here
        Lsn end;
        bool is_complete = false;
    };

    std::uint64_t segment_bytes = 0;               // 0: no segment tells
    std::vector<Segment> segments;                 // those that hold the log, oldest first
    std::vector<std::filesystem::path> leftovers;  // to be removed, the last first
    std::vector<TimelineId> histories;
    WalPosition begin;
    WalPosition end;
    std::size_t sums_in_last_segment = 0;
    std::uint64_t bytes_checked = 0;  // held against their sums
    std::uint64_t tail_bytes = 0;     // after `end`
    WalPosition durable;              // all before this was on disk for certain

    // Why the log ends there, above what was on disk; nothing: no reason but the end.
    std::optional<Flaw> torn;

    // Of what was on disk: no crash does that. At kTail the scan ends with the first.
    std::vector<Flaw> corruptions;
};

// Reads only. At kTail it reads the segments that are not complete, and of the others the names and sizes.
// Nobody may rename or remove meanwhile: inspect_wal() is for that. What a writer has not finished counts as
// the tail. Throws Error where the directory mixes segment sizes, SystemError.
WalScan scan_wal(const std::filesystem::path& directory, ScanDepth depth, const OnRead& on_read = {});

}  // namespace pgcascade::log
