#include "log/feed_scan.hpp"

#include <algorithm>
#include <set>
#include <system_error>

#include <fmt/format.h>

#include <pgcascade/error.hpp>

#include "base/file.hpp"
#include "log/feed_segment.hpp"

namespace pgcascade::log {

namespace fs = std::filesystem;

namespace {

bool is_there(const fs::path& file) {
    std::error_code error;
    const bool is_found = fs::exists(file, error);
    if (error) throw SystemError("can't look at " + file.string(), error.value());
    return is_found;
}

std::vector<FeedPosition> list_segments(const fs::path& directory) {
    std::set<FeedPosition> found;
    std::error_code error;
    for (const fs::directory_entry& file : fs::directory_iterator{directory, error}) {
        std::error_code gone;
        const auto position = FeedSegment::position_of(file.path());
        if (position && file.is_regular_file(gone)) found.insert(*position);
    }
    if (error) throw SystemError("can't read " + directory.string(), error.value());
    return {found.begin(), found.end()};
}

class Scan {
  public:
    // Nothing above `settled` is passed over, whatever mark is found.
    Scan(const fs::path& directory, ScanDepth depth, const OnRead& on_read,
         FeedPosition settled = {~std::uint64_t{0}})
        : directory_(directory),
          depth_(depth),
          on_read_(on_read),
          settled_(settled),
          positions_(list_segments(directory)) {}

    FeedScan run() {
        if (positions_.empty()) return found_;
        find_durable();
        const std::size_t first = is_first_being_removed() ? 1 : 0;
        if (first > 0) found_.leftovers.push_back(positions_.front());
        found_.begin = found_.end = first < positions_.size() ? positions_[first] : positions_.front();
        for (std::size_t i = first; i < positions_.size(); ++i) take(i);
        return std::move(found_);
    }

  private:
    static constexpr const char* kLate = "what follows here belongs to no entry";

    // Retention removes the oldest segment once the next one is on disk. Where there is no next one, a crash
    // may have come before the first was there.
    bool is_first_being_removed() const {
        if (is_whole_pair(positions_.front())) return false;
        if (positions_.size() > 1) return is_whole_pair(positions_[1]);
        return frames_bytes(positions_.front()) == 0 &&
               !is_there(FeedSegment::index_file(directory_, positions_.front()));
    }

    bool is_whole_pair(FeedPosition position) const {
        return is_there(FeedSegment::frames_file(directory_, position)) &&
               is_there(FeedSegment::index_file(directory_, position));
    }

    std::uint64_t frames_bytes(FeedPosition position) const {
        std::error_code missing;
        const std::uintmax_t bytes = fs::file_size(FeedSegment::frames_file(directory_, position), missing);
        return missing ? 0 : bytes;
    }

    void find_durable();
    FeedPosition highest_mark(FeedPosition position) const;
    void take(std::size_t i);
    void leave(FeedPosition position);
    void miss(FeedPosition next);
    void pass(FeedPosition position, FeedPosition next);
    void check(FeedPosition position);
    std::size_t check_entries(const FeedSegment& segment);
    bool check_entry(const FeedSegment& segment, std::size_t number);
    std::optional<FeedSegment> open(FeedPosition position);
    void add(const FeedSegment& segment, FeedPosition end, std::size_t entries);
    void set_flaw(Flaw flaw, bool was_on_disk = false);

    // Where a segment ended whose entries were checked: in its index, and in its frames.
    struct End {
        Flaw early;
        Flaw late;
        FeedPosition frames;
    };

    const fs::path& directory_;
    const ScanDepth depth_;
    const OnRead& on_read_;
    const FeedPosition settled_;
    const std::vector<FeedPosition> positions_;
    bool is_over_ = false;      // nothing counts that follows
    bool is_settled_ = false;   // all of the segment was on disk
    bool is_lost_ = false;      // of what is corrupt nobody knows where it ends
    std::optional<End> ended_;  // the segment before
    FeedScan found_;
};

// Each entry tells how far the disk had everything when it was written. The highest such mark stands in the
// last segments: once it lies in a segment, those before can't have a higher one.
void Scan::find_durable() {
    for (auto position = positions_.rbegin(); position != positions_.rend(); ++position) {
        try {
            found_.durable = std::max(found_.durable, highest_mark(*position));
        } catch (const SystemError& problem) {
            if (problem.error_number() != ENOENT) throw;
        }
        if (found_.durable > *position) return;
    }
}

FeedPosition Scan::highest_mark(FeedPosition position) const {
    FeedPosition highest;
    try {
        const FeedSegment segment = FeedSegment::open_for_reading(directory_, position);
        for (std::size_t i = 0; i < segment.entries(); ++i)
            if (const auto entry = segment.entry(i)) highest = std::max(highest, entry->durable);
        return highest;
    } catch (const LogCorrupt&) {
    } catch (const SystemError& problem) {
        if (problem.error_number() != ENOENT) throw;
    }
    // Nobody knows where the entries stand, but each of them shows by its checksum that it is one.
    const std::string index = read_file(FeedSegment::index_file(directory_, position));
    for (std::size_t at = 0; at + kFeedEntryBytes <= index.size();) {
        const auto entry = parse_feed_entry(std::string_view{index}.substr(at, kFeedEntryBytes));
        if (entry) highest = std::max(highest, entry->durable);
        at += entry ? kFeedEntryBytes : 1;
    }
    return highest;
}

void Scan::set_flaw(Flaw flaw, bool was_on_disk) {
    if (was_on_disk || is_settled_ || found_.end < found_.durable) {
        found_.corruptions.push_back(std::move(flaw));
        is_over_ = depth_ == ScanDepth::kTail || found_.corruptions.size() == kMostCorruptions;
    } else {
        found_.torn = std::move(flaw);
        is_over_ = true;
    }
}

void Scan::take(std::size_t i) {
    const FeedPosition position = positions_[i];
    is_settled_ = false;
    const bool follows = position == found_.end || (is_lost_ && position > found_.end);
    if (!is_over_ && !follows) miss(position);
    if (is_over_) return leave(position);
    if (position < found_.end) return;
    // Who reads on there would take these bytes for what stands here.
    if (ended_ && ended_->frames > position && position <= found_.durable) set_flaw(ended_->late, true);
    if (!found_.corruptions.empty()) found_.tail_bytes = 0;  // it was none: the log goes on here
    is_lost_ = false;
    found_.end = position;
    is_settled_ = i + 1 < positions_.size() && positions_[i + 1] <= found_.durable;
    const bool may_pass = is_settled_ && positions_[i + 1] <= settled_ && depth_ == ScanDepth::kTail;
    may_pass ? pass(position, positions_[i + 1]) : check(position);
}

void Scan::leave(FeedPosition position) {
    found_.leftovers.push_back(position);
    found_.tail_bytes += frames_bytes(position);
}

void Scan::miss(FeedPosition next) {
    if (ended_ && next > found_.end && ended_->frames >= next) return set_flaw(ended_->early);
    set_flaw({FeedSegment::frames_file(directory_, found_.end), 0,
              fmt::format("the segment that begins here is missing; there is {}",
                          FeedSegment::frames_file(directory_, next).filename().string())},
             next < found_.durable);
}

std::optional<FeedSegment> Scan::open(FeedPosition position) {
    // The first one's header is on disk before its first frame is written.
    const bool was_on_disk = position == positions_.front() && frames_bytes(position) > 0;
    try {
        return FeedSegment::open_for_reading(directory_, position);
    } catch (const LogCorrupt&) {
        set_flaw({FeedSegment::index_file(directory_, position), 0, "the header is damaged"}, was_on_disk);
    } catch (const SystemError& problem) {
        if (problem.error_number() != ENOENT) throw;
        const fs::path frames = FeedSegment::frames_file(directory_, position);
        const fs::path index = FeedSegment::index_file(directory_, position);
        set_flaw({is_there(frames) ? index : frames, 0, "the file is missing"}, was_on_disk);
    }
    ended_.reset();
    is_lost_ = true;
    found_.leftovers.push_back(position);
    return std::nullopt;
}

void Scan::add(const FeedSegment& segment, FeedPosition end, std::size_t entries) {
    FeedScan::Segment added{.position = segment.position(), .end = end, .entries = entries};
    if (entries > 0) {
        added.first = segment.entry(0);
        added.last = segment.entry(entries - 1);
        if (added.last) found_.last = added.last;
    }
    found_.end = end;
    found_.segments.push_back(added);
}

// All of it was on disk: that the next segment begins where it ends is enough for a start.
void Scan::pass(FeedPosition position, FeedPosition next) {
    const auto segment = open(position);
    if (!segment) return;
    if (segment->end() > next)
        return set_flaw({segment->frames_file(), bytes_between(position, next), kLate});
    add(*segment, segment->end(), segment->entries());
}

void Scan::check(FeedPosition position) {
    const auto segment = open(position);
    if (!segment) return;
    const std::size_t entries = check_entries(*segment);
    add(*segment, found_.end, entries);
    const FeedPosition end = segment->end();
    if (end > found_.end) found_.tail_bytes += bytes_between(found_.end, end);
}

// How many there are, to the first from which on nothing counts.
std::size_t Scan::check_entries(const FeedSegment& segment) {
    std::size_t number = 0;
    while (number < segment.entries() && check_entry(segment, number)) ++number;
    ended_ = {{segment.index_file(), segment.index_offset(number), "the entries end early"},
              {segment.frames_file(), bytes_between(segment.position(), found_.end), kLate},
              segment.end()};
    return number;
}

// False where nothing counts that follows.
bool Scan::check_entry(const FeedSegment& segment, std::size_t number) {
    const auto entry = segment.entry(number);
    if (!entry || (entry->begin != found_.end && !(is_lost_ && entry->begin > found_.end))) {
        set_flaw({segment.index_file(), segment.index_offset(number), "the entry is damaged"});
        is_lost_ = true;
        return !is_over_;
    }
    is_lost_ = false;
    const std::uint64_t offset = bytes_between(segment.position(), entry->begin);
    const std::size_t corruptions = found_.corruptions.size();
    if (entry->end > segment.end())
        set_flaw({segment.frames_file(), offset, "the frames of an entry are cut short"});
    else if (segment.crc_of(*entry, on_read_) != entry->crc)
        set_flaw({segment.frames_file(), offset, "the frames of an entry are damaged"});
    if (is_over_) return false;
    if (found_.corruptions.size() == corruptions) ++found_.entries_scanned;
    found_.bytes_checked += bytes_between(entry->begin, entry->end);
    found_.end = entry->end;
    return true;
}

}  // namespace

FeedScan scan_feed(const fs::path& directory, ScanDepth depth, const OnRead& on_read) {
    FeedScan found = Scan{directory, depth, on_read}.run();
    // What is cut off takes its marks with it: what they alone say was on disk is read while they are there.
    const FeedPosition staying = found.last ? found.last->durable : found.begin;
    if (depth == ScanDepth::kTail && found.torn && staying < found.durable)
        return Scan{directory, depth, on_read, staying}.run();
    return found;
}

}  // namespace pgcascade::log
