#include "log/feed_scan.hpp"

#include <algorithm>
#include <charconv>
#include <set>
#include <system_error>

#include <fmt/format.h>

#include <pgcascade/error.hpp>

#include "log/feed_segment.hpp"

namespace pgcascade::log {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t kNameDigits = 16;

std::vector<FeedPosition> list_segments(const fs::path& directory) {
    std::set<FeedPosition> found;
    std::error_code error;
    for (const fs::directory_entry& file : fs::directory_iterator{directory, error}) {
        const std::string name = file.path().filename().string();
        const std::string extension = file.path().extension().string();
        if (name.size() != kNameDigits + extension.size()) continue;
        if (extension != ".frames" && extension != ".index") continue;
        FeedPosition position;
        const char* end = name.data() + kNameDigits;
        if (std::from_chars(name.data(), end, position.value, 16).ptr == end) found.insert(position);
    }
    if (error) throw SystemError("can't read " + directory.string(), error.value());
    return {found.begin(), found.end()};
}

class Scan {
  public:
    Scan(const fs::path& directory, ScanDepth depth)
        : directory_(directory), depth_(depth), positions_(list_segments(directory)) {}

    FeedScan run() {
        if (positions_.empty()) return found_;
        find_durable();
        std::size_t first = 0;
        while (first < positions_.size() && !is_whole_pair(positions_[first]))
            found_.leftovers.push_back(positions_[first++]);
        found_.begin = found_.end = first < positions_.size() ? positions_[first] : positions_.front();
        for (std::size_t i = first; i < positions_.size(); ++i) {
            if (found_.damage || positions_[i] != found_.end) {
                miss(positions_[i]);
                found_.leftovers.push_back(positions_[i]);
                continue;
            }
            const bool is_settled = i + 1 < positions_.size() && positions_[i + 1] <= found_.durable;
            is_settled&& depth_ == ScanDepth::kTail ? pass(positions_[i]) : check(positions_[i]);
        }
        return found_;
    }

  private:
    // Retention removes the oldest segments, one file after the other.
    bool is_whole_pair(FeedPosition position) const {
        return fs::exists(FeedSegment::frames_file(directory_, position)) &&
               fs::exists(FeedSegment::index_file(directory_, position));
    }

    void find_durable();
    void miss(FeedPosition position);
    void pass(FeedPosition position);
    void check(FeedPosition position);
    void check_entries(const FeedSegment& segment);
    std::optional<FeedSegment> open(FeedPosition position);

    void set_damage(const fs::path& file, std::uint64_t offset, std::string what) {
        if (!found_.damage) found_.damage = FeedDamage{file, offset, std::move(what), found_.end};
    }

    const fs::path& directory_;
    const ScanDepth depth_;
    const std::vector<FeedPosition> positions_;
    FeedScan found_;
};

// Each entry tells how far the disk had everything when it was written. The highest such mark stands in the
// last segments: once it lies in a segment, those before can't have a higher one.
void Scan::find_durable() {
    for (auto position = positions_.rbegin(); position != positions_.rend(); ++position) {
        try {
            const FeedSegment segment{directory_, *position};
            for (std::size_t i = 0; i < segment.entries(); ++i)
                if (const auto entry = segment.entry(i))
                    found_.durable = std::max(found_.durable, entry->durable);
        } catch (const LogCorrupt&) {  // then check() tells
        } catch (const SystemError& problem) {
            if (problem.error_number() != ENOENT) throw;
        }
        if (found_.durable > *position) return;
    }
}

void Scan::miss(FeedPosition position) {
    const fs::path expected = FeedSegment::frames_file(directory_, found_.end);
    set_damage(expected, 0,
               fmt::format("the segment that begins here is missing; there is {}",
                           FeedSegment::frames_file(directory_, position).filename().string()));
    std::error_code ignored;
    const std::uintmax_t bytes = fs::file_size(FeedSegment::frames_file(directory_, position), ignored);
    if (!ignored) found_.tail_bytes += bytes;
}

std::optional<FeedSegment> Scan::open(FeedPosition position) {
    try {
        return FeedSegment{directory_, position};
    } catch (const LogCorrupt&) {
        set_damage(FeedSegment::index_file(directory_, position), 0, "the header is damaged");
    } catch (const SystemError& problem) {
        if (problem.error_number() != ENOENT) throw;
        const fs::path frames = FeedSegment::frames_file(directory_, position);
        const fs::path index = FeedSegment::index_file(directory_, position);
        set_damage(fs::exists(frames) ? index : frames, 0, "the file is missing");
    }
    found_.leftovers.push_back(position);
    return std::nullopt;
}

// All of it was on disk: that the next segment begins where it ends is enough for a start.
void Scan::pass(FeedPosition position) {
    const auto segment = open(position);
    if (!segment) return;
    found_.segments.push_back(position);
    found_.end = segment->end();
    if (const std::size_t entries = segment->entries(); entries > 0)
        found_.last = segment->entry(entries - 1);
}

void Scan::check(FeedPosition position) {
    const auto segment = open(position);
    if (!segment) return;
    found_.segments.push_back(position);
    found_.entries_in_last_segment = 0;
    check_entries(*segment);
    const FeedPosition end = segment->end();
    if (end > found_.end) found_.tail_bytes += bytes_between(found_.end, end);
}

void Scan::check_entries(const FeedSegment& segment) {
    for (std::size_t i = 0; i < segment.entries(); ++i) {
        const auto entry = segment.entry(i);
        if (!entry || entry->begin != found_.end)
            return set_damage(segment.index_file(), segment.index_offset(i), "the entry is damaged");
        const std::uint64_t offset = bytes_between(segment.position(), entry->begin);
        if (entry->end > segment.end())
            return set_damage(segment.frames_file(), offset, "the frames of an entry are cut short");
        if (segment.crc_of(*entry) != entry->crc)
            return set_damage(segment.frames_file(), offset, "the frames of an entry are damaged");
        found_.end = entry->end;
        found_.last = entry;
        found_.entries_in_last_segment = i + 1;
        ++found_.entries_scanned;
    }
}

}  // namespace

std::string FeedDamage::to_string() const {
    return fmt::format("{}, offset {}: {}", file.string(), offset, what);
}

FeedScan scan_feed(const fs::path& directory, ScanDepth depth) {
    return Scan{directory, depth}.run();
}

}  // namespace pgcascade::log
