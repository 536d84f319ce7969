#include "log/inspection.hpp"

#include <algorithm>
#include <cerrno>
#include <optional>
#include <system_error>

#include <fmt/format.h>

#include <pgcascade/error.hpp>

#include "log/feed_segment.hpp"

namespace pgcascade::log {

namespace fs = std::filesystem;

using Kind = LogPlace::Kind;

namespace {

constexpr int kMostLooks = 10;

std::vector<fs::directory_entry> list(const fs::path& directory) {
    std::error_code error;
    std::vector<fs::directory_entry> entries;
    for (fs::directory_iterator next{directory, error}; !error && next != fs::directory_iterator{};
         next.increment(error))
        entries.push_back(*next);
    if (error)
        throw SystemError("can't read " + directory.string(), error.value(),
                          "name the directory of a relay, of one of its feeds, or of its WAL");
    std::sort(entries.begin(), entries.end());
    return entries;
}

bool is_there(const fs::path& directory) {
    std::error_code none;
    return fs::is_directory(directory, none);
}

std::vector<LogPlace> logs_of_relay(const fs::path& directory) {
    std::vector<LogPlace> found;
    const fs::path feeds = directory / "feeds";
    if (is_there(feeds))
        for (const fs::directory_entry& entry : list(feeds))
            if (is_there(entry.path()))
                found.push_back({Kind::kFeed, entry.path().filename().string(), entry.path()});
    const fs::path wal = directory / "wal";
    if (is_there(wal)) found.push_back({Kind::kWal, "wal", wal});
    return found;
}

// What the files in it make of a directory.
std::optional<Kind> kind_of(const fs::path& directory) {
    bool has_segments = false;
    for (const fs::directory_entry& entry : list(directory)) {
        if (FeedSegment::position_of(entry.path())) return Kind::kFeed;
        const auto name = WalFileName::parse(entry.path().filename().string());
        if (name && name->kind == WalFileName::Kind::kSums) return Kind::kWal;
        has_segments = has_segments || name;
    }
    if (has_segments)
        throw Error(fmt::format("{} holds WAL, but no log of a relay: no segment has its checksums (.sums)",
                                directory.string()),
                    "pg_waldump can read it, pg_verifybackup checks that of a backup");
    return std::nullopt;
}

// Until two looks agree: what was removed, renamed or cut away between them is nobody's damage.
template <class Scan, class Look>
Scan look_until_certain(const fs::path& directory, const Look& look) {
    std::optional<Scan> before;
    for (int looks = 1;; ++looks) {
        try {
            Scan scan = look();
            const bool is_certain =
                scan.corruptions.empty() || (before && before->corruptions == scan.corruptions);
            if (is_certain || looks >= kMostLooks) return scan;
            before = std::move(scan);
        } catch (const SystemError& problem) {
            const bool was_removed = problem.error_number() == ENOENT && is_there(directory);
            if (!was_removed || looks >= kMostLooks) throw;
        }
    }
}

}  // namespace

std::vector<LogPlace> find_logs(const fs::path& directory) {
    const auto kind = kind_of(directory);
    if (kind) return {{*kind, fs::canonical(directory).filename().string(), directory}};
    std::vector<LogPlace> found = logs_of_relay(directory);
    if (found.empty())
        throw Error(directory.string() + " holds no log",
                    "name the directory of a relay, of one of its feeds, or of its WAL");
    return found;
}

std::uint64_t bytes_of(const LogPlace& place) {
    std::uint64_t bytes = 0;
    for (const fs::directory_entry& entry : list(place.directory)) {
        std::error_code gone;
        const std::uintmax_t size = entry.is_regular_file(gone) ? entry.file_size(gone) : 0;
        if (!gone) bytes += size;
    }
    return bytes;
}

FeedScan inspect_feed(const fs::path& directory, ScanDepth depth, const OnRead& on_read) {
    return look_until_certain<FeedScan>(directory, [&] { return scan_feed(directory, depth, on_read); });
}

WalScan inspect_wal(const fs::path& directory, ScanDepth depth, const OnRead& on_read) {
    return look_until_certain<WalScan>(directory, [&] { return scan_wal(directory, depth, on_read); });
}

std::vector<FeedEntry> last_entries(const fs::path& directory, const FeedScan& scan, std::size_t limit) {
    std::vector<FeedEntry> entries;
    try {
        for (auto at = scan.segments.rbegin(); at != scan.segments.rend(); ++at) {
            if (at->entries == 0) continue;
            const FeedSegment segment = FeedSegment::open_for_reading(directory, at->position);
            for (std::size_t number = at->entries; number-- > 0 && entries.size() < limit;) {
                const auto entry = segment.entry(number);
                if (!entry)
                    throw LogCorrupt(fmt::format("{}, offset {}: the entry is damaged",
                                                 segment.index_file().string(), segment.index_offset(number)),
                                     "`pgcascade log verify` tells what else is");
                entries.push_back(*entry);
            }
            if (entries.size() >= limit) break;
        }
    } catch (const SystemError& problem) {
        if (problem.error_number() != ENOENT) throw;
    }
    std::reverse(entries.begin(), entries.end());
    return entries;
}

}  // namespace pgcascade::log
