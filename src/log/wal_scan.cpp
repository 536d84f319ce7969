#include "log/wal_scan.hpp"

#include <algorithm>
#include <cerrno>
#include <map>
#include <string>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include <pgcascade/error.hpp>

#include "log/wal_check.hpp"
#include "log/wal_segment.hpp"
#include "log/wal_sums_file.hpp"

namespace pgcascade::log {

namespace fs = std::filesystem;

using Kind = WalFileName::Kind;

namespace {

// What there is of one segment.
struct Found {
    std::optional<std::uint64_t> complete_bytes;  // nothing: there is no such file
    std::optional<std::uint64_t> partial_bytes;
    bool has_sums = false;
};

class Scan {
  public:
    Scan(const fs::path& directory, ScanDepth depth, const OnRead& on_read)
        : directory_(directory), depth_(depth), on_read_(on_read) {}

    WalScan run() {
        list();
        find_segment_bytes();
        find_durable();
        for (const auto& [number, found] : found_) take(number, found);
        if (!has_begun_ && orphan_) set_flaw({file(*orphan_, Kind::kPartial), 0, kMissing});
        return std::move(scan_);
    }

  private:
    static constexpr const char* kMissing = "the file is missing";

    void list();
    void list(const fs::directory_entry& entry);
    void find_segment_bytes();
    std::uint64_t segment_bytes_of(const WalSegmentNumber& number, const Found& found) const;
    void find_durable();
    void take(const WalSegmentNumber& number, const Found& found);
    bool was_being_removed(const WalSegmentNumber& number) const;
    bool follows(WalPosition start) const;
    void set_gap(const WalSegmentNumber& number);
    void take_complete(const WalSegmentNumber& number, const Found& found);
    void take_partial(const WalSegmentNumber& number, const Found& found);
    std::optional<WalCheck> check(const WalSegmentNumber& number, Kind kind);
    Lsn durable_on(TimelineId timeline) const;
    void set_flaw(Flaw flaw);
    WalFile open(const WalSegmentNumber& number, Kind kind) const;
    void add(WalPosition start, Lsn end, bool is_complete);
    void leave(const WalSegmentNumber& number, const Found& found);
    void add_tail(WalPosition start, std::uint64_t bytes);

    fs::path file(const WalSegmentNumber& number, Kind kind) const {
        return directory_ / WalFileName{number, kind}.to_string();
    }

    WalPosition start_of(const WalSegmentNumber& number) const {
        if (const auto start = number.start(scan_.segment_bytes)) return *start;
        throw Error(fmt::format("{} mixes segment sizes: no segment of {} bytes is called {}",
                                directory_.string(), scan_.segment_bytes,
                                WalFileName{number, Kind::kComplete}.to_string()));
    }

    const fs::path& directory_;
    const ScanDepth depth_;
    const OnRead& on_read_;
    std::map<WalSegmentNumber, Found> found_;
    bool is_over_ = false;                    // nothing counts that follows
    bool is_lost_ = false;                    // of what is corrupt nobody knows where it ends
    bool has_begun_ = false;                  // a segment was found that may be the log's first
    std::optional<WalSegmentNumber> orphan_;  // one before it of which only the sums are left
    WalScan scan_;
};

void Scan::list() {
    std::error_code error;
    for (const fs::directory_entry& entry : fs::directory_iterator{directory_, error}) list(entry);
    if (error) throw SystemError("can't read " + directory_.string(), error.value());
    std::sort(scan_.histories.begin(), scan_.histories.end());
}

void Scan::list(const fs::directory_entry& entry) {
    const std::string name = entry.path().filename().string();
    if (const auto timeline = parse_history_name(name)) scan_.histories.push_back(*timeline);
    const auto parsed = WalFileName::parse(name);
    std::error_code gone;
    if (!parsed || !entry.is_regular_file(gone)) return;
    if (parsed->kind == Kind::kTemporarySums) return scan_.leftovers.push_back(entry.path());
    const std::uint64_t bytes = entry.file_size(gone);
    if (gone) return;
    Found& found = found_[parsed->segment];
    if (parsed->kind == Kind::kComplete) found.complete_bytes = bytes;
    if (parsed->kind == Kind::kPartial) found.partial_bytes = bytes;
    if (parsed->kind == Kind::kSums) found.has_sums = true;
}

void Scan::find_segment_bytes() {
    for (const auto& [number, found] : found_) {
        if (scan_.segment_bytes != 0 && found.complete_bytes == scan_.segment_bytes) continue;
        const std::uint64_t bytes = segment_bytes_of(number, found);
        if (scan_.segment_bytes == 0) scan_.segment_bytes = bytes;
        if (bytes != 0 && bytes != scan_.segment_bytes)
            throw Error(fmt::format("{} mixes segment sizes: {} is of {} bytes, those before it of {}",
                                    directory_.string(), WalFileName{number, Kind::kComplete}.to_string(),
                                    bytes, scan_.segment_bytes));
    }
}

// Its sums say it, and where they can't be read, its own size; 0: neither does.
std::uint64_t Scan::segment_bytes_of(const WalSegmentNumber& number, const Found& found) const {
    if (found.has_sums) {
        const WalSumsFile sums{WalFile::open_for_reading(file(number, Kind::kSums))};
        if (sums.header()) return sums.header()->segment_bytes;
    }
    return found.complete_bytes && is_wal_segment_size(*found.complete_bytes) ? *found.complete_bytes : 0;
}

// A segment gets its final name once it is on disk. The sums of the others tell how far the disk had
// everything when they were written.
void Scan::find_durable() {
    for (const auto& [number, found] : found_) {
        Lsn durable;
        if (found.complete_bytes)  // where no file tells the size: something of it
            durable.value = start_of(number).lsn.value + std::max<std::uint64_t>(scan_.segment_bytes, 1);
        else if (found.has_sums)
            durable = WalSumsFile{WalFile::open_for_reading(file(number, Kind::kSums))}.durable();
        if (durable) scan_.durable = std::max(scan_.durable, {number.timeline, durable});
    }
}

void Scan::set_flaw(Flaw flaw) {
    if (scan_.end < scan_.durable) {
        scan_.corruptions.push_back(std::move(flaw));
        is_over_ = depth_ == ScanDepth::kTail || scan_.segment_bytes == 0 ||
                   scan_.corruptions.size() >= kMostCorruptions;
    } else {
        scan_.torn = std::move(flaw);
        is_over_ = true;
    }
}

void Scan::take(const WalSegmentNumber& number, const Found& found) {
    if (is_over_) return leave(number, found);
    if (!has_begun_) scan_.begin = scan_.end = start_of(number);
    const bool is_missing = !found.complete_bytes && !found.partial_bytes;
    if (is_missing && !has_begun_ && was_being_removed(number)) {
        orphan_ = number;
        return leave(number, found);
    }
    if (is_missing)
        set_flaw({file(number, Kind::kPartial), 0, kMissing});
    else if (has_begun_ && !follows(start_of(number)))
        set_gap(number);
    has_begun_ = true;
    if (is_over_) return leave(number, found);
    if (is_missing)
        is_lost_ = true;
    else
        found.complete_bytes ? take_complete(number, found) : take_partial(number, found);
}

// Retention removes the oldest segments, and the sums last: those that were made when the segment was done.
bool Scan::was_being_removed(const WalSegmentNumber& number) const {
    const WalSumsFile sums{WalFile::open_for_reading(file(number, Kind::kSums))};
    if (sums.sums() == 0) return false;
    const auto last = parse_wal_sum(sums.read(sums.sums() - 1, 1));
    return last && last->durable == last->end;
}

// A timeline begins with the segment in which the one before ends.
bool Scan::follows(WalPosition start) const {
    if (is_lost_) return start >= scan_.end;
    if (start.timeline == scan_.end.timeline) return start.lsn == scan_.end.lsn;
    return start.lsn == WalDirectory{directory_, scan_.segment_bytes}.segment_start(scan_.end.lsn);
}

void Scan::set_gap(const WalSegmentNumber& number) {
    const WalDirectory directory{directory_, scan_.segment_bytes};
    const WalPosition missing{scan_.end.timeline, directory.segment_start(scan_.end.lsn)};
    const std::uint64_t offset = scan_.end.lsn.value - missing.lsn.value;
    set_flaw({offset == 0 ? directory.complete_file(missing) : directory.partial_file(missing), offset,
              fmt::format("the WAL that begins here is missing; there is {}",
                          WalFileName{number, Kind::kComplete}.to_string())});
    is_lost_ = true;
}

void Scan::take_complete(const WalSegmentNumber& number, const Found& found) {
    const WalPosition start = start_of(number);
    const Lsn end{start.lsn.value + scan_.segment_bytes};
    if (found.complete_bytes != scan_.segment_bytes || scan_.segment_bytes == 0)
        set_flaw({file(number, Kind::kComplete), std::min(*found.complete_bytes, scan_.segment_bytes),
                  fmt::format("it has {} bytes, which no segment has", *found.complete_bytes)});
    else if (!found.has_sums)
        set_flaw({file(number, Kind::kSums), 0, kMissing});
    else if (depth_ == ScanDepth::kAll)
        if (const auto checked = check(number, Kind::kComplete)) {
            if (checked->ended)
                set_flaw(*checked->ended);
            else if (checked->end < end && !checked->is_end_lost)
                set_flaw(
                    {file(number, Kind::kSums), WalSumsFile::offset_of(checked->sums), "the sums end early"});
        }
    if (!is_over_) add(start, end, true);
}

void Scan::take_partial(const WalSegmentNumber& number, const Found& found) {
    if (!found.has_sums) set_flaw({file(number, Kind::kSums), 0, kMissing});
    const auto checked = found.has_sums ? check(number, Kind::kPartial) : std::nullopt;
    const WalPosition start = start_of(number);
    if (!checked && !is_over_) {
        is_lost_ = true;
        return;
    }
    // One that holds no more than what it repeats of the timeline before does not count yet.
    const bool counts = checked && checked->end > std::max(scan_.end.lsn, start.lsn);
    if (counts) {
        add(start, checked->end, false);
        scan_.sums_in_last_segment = checked->sums;
    }
    if (checked && checked->ended) set_flaw(*checked->ended);
    is_lost_ = checked && !is_over_ && (checked->ended || checked->is_end_lost);
    counts ? add_tail(start, *found.partial_bytes) : leave(number, found);
}

// Nothing where the sums are not those of the segment.
std::optional<WalCheck> Scan::check(const WalSegmentNumber& number, Kind kind) {
    const WalPosition start = start_of(number);
    const WalSumsFile sums{WalFile::open_for_reading(file(number, Kind::kSums))};
    if (sums.header() != WalSumsHeader{start, scan_.segment_bytes}) {
        set_flaw({sums.file(), 0, "the header is damaged"});
        return std::nullopt;
    }
    const WalSegment segment{open(number, kind), start};
    const Lsn go_on_below = depth_ == ScanDepth::kAll ? durable_on(start.timeline) : Lsn{};
    WalCheck checked = check_wal_segment(segment, sums, {.go_on_below = go_on_below, .on_read = on_read_});
    scan_.bytes_checked += checked.end.value - start.lsn.value;
    for (const Flaw& flaw : checked.passed) set_flaw(flaw);
    return checked;
}

// All of that timeline below it was on disk.
Lsn Scan::durable_on(TimelineId timeline) const {
    if (timeline > scan_.durable.timeline) return {};
    if (timeline < scan_.durable.timeline) return {~std::uint64_t{0}};
    return scan_.durable.lsn;
}

WalFile Scan::open(const WalSegmentNumber& number, Kind kind) const {
    try {
        return WalFile::open_for_reading(file(number, kind));
    } catch (const SystemError& problem) {
        if (kind != Kind::kPartial || problem.error_number() != ENOENT) throw;
    }
    return open(number, Kind::kComplete);  // it was completed meanwhile
}

void Scan::add(WalPosition start, Lsn end, bool is_complete) {
    const bool repeats = !is_lost_ && !scan_.segments.empty() && start.timeline != scan_.end.timeline;
    const Lsn from = repeats ? scan_.end.lsn : start.lsn;
    scan_.segments.push_back({start, from, end, is_complete});
    scan_.end = {start.timeline, end};
    is_lost_ = false;
}

void Scan::leave(const WalSegmentNumber& number, const Found& found) {
    if (found.has_sums) scan_.leftovers.push_back(file(number, Kind::kSums));
    if (!found.partial_bytes) return;
    scan_.leftovers.push_back(file(number, Kind::kPartial));
    add_tail(start_of(number), *found.partial_bytes);
}

void Scan::add_tail(WalPosition start, std::uint64_t bytes) {
    const Lsn end{start.lsn.value + bytes};
    const Lsn begin = std::max(start.lsn, scan_.end.lsn);
    if (end > begin) scan_.tail_bytes += end.value - begin.value;
}

}  // namespace

WalScan scan_wal(const fs::path& directory, ScanDepth depth, const OnRead& on_read) {
    return Scan{directory, depth, on_read}.run();
}

}  // namespace pgcascade::log
