#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "log/feed_scan.hpp"
#include "log/wal_scan.hpp"

// Looks at logs that may be in use, for operators: finds them, and scans them while somebody writes to them
// and removes from them. Reads only.

namespace pgcascade::log {

struct LogPlace {
    enum class Kind : std::uint8_t { kFeed, kWal };

    Kind kind = Kind::kFeed;
    std::string name;
    std::filesystem::path directory;
};

// Those of a relay, whose directory it is: its feeds by name, then its WAL; else the one log that has its
// files there. Throws Error where there is none, SystemError.
std::vector<LogPlace> find_logs(const std::filesystem::path& directory);

// Of all its files: about as much as reading it all takes.
std::uint64_t bytes_of(const LogPlace& place);

// As scan_feed() and scan_wal(), but somebody may remove meanwhile: what looks corrupt counts only where a
// second look finds it again.
FeedScan inspect_feed(const std::filesystem::path& directory, ScanDepth depth, const OnRead& on_read = {});
WalScan inspect_wal(const std::filesystem::path& directory, ScanDepth depth, const OnRead& on_read = {});

// The last so many entries that the scan found, oldest first; fewer where others were removed meanwhile.
// Throws LogCorrupt, SystemError.
std::vector<FeedEntry> last_entries(const std::filesystem::path& directory, const FeedScan& scan,
                                    std::size_t limit);

}  // namespace pgcascade::log
