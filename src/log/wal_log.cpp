#include "log/wal_log.hpp"

#include <algorithm>
#include <cerrno>
#include <utility>

#include <fmt/format.h>

#include <pgcascade/error.hpp>

#include "base/crc32c.hpp"
#include "log/wal_check.hpp"
#include "log/wal_scan.hpp"

namespace pgcascade::log {

namespace fs = std::filesystem;

WalLog::WalLog(fs::path directory, WalLogOptions options)
    : directory_{std::move(directory), options.segment_bytes} {
    if (!is_wal_segment_size(options.segment_bytes))
        throw Error(fmt::format("a segment of WAL can't have {} bytes", options.segment_bytes));
    recover();
}

void WalLog::recover() {
    const WalScan scan = scan_wal(directory_.path, ScanDepth::kTail);
    if (!scan.corruptions.empty())
        throw LogCorrupt(scan.corruptions.front().to_string() + ", though it was on disk",
                         "restore the file, or begin the log anew: its standbys need a new copy then");
    if (scan.segment_bytes != 0 && scan.segment_bytes != directory_.segment_bytes)
        throw Error(fmt::format("{} has segments of {} bytes, the upstream's are of {}",
                                directory_.path.string(), scan.segment_bytes, directory_.segment_bytes),
                    "begin the log anew, in an empty directory");
    if (scan.torn || scan.tail_bytes > 0)
        cut_ = Cut{scan.tail_bytes, scan.torn ? scan.torn->to_string() : "the last batch is not whole"};
    // The last first: what is left of a crash in here is again a log that ends early.
    for (auto leftover = scan.leftovers.rbegin(); leftover != scan.leftovers.rend(); ++leftover)
        remove_file(*leftover);
    if (scan.segments.empty()) return;
    for (const WalScan::Segment& found : scan.segments) {
        segments_.push_back({found.start, found.from, found.is_complete, {}});
        if (found.is_complete) continue;
        const UnderWay partial = open_partial(found.start);
        const bool has_tail = partial.segment->end() > found.end;
        if (has_tail) partial.segment->cut(found.end);
        // One that is neither the last nor full is where a timeline ended: nothing will be added to it.
        const bool is_last = &found == &scan.segments.back();
        if (!is_last && found.end < directory_.segment_end(found.start)) {
            if (has_tail) partial.segment->sync();
            continue;
        }
        unsynced_.push_back(partial);
        segments_.back().open = partial.segment;
    }
    if (!segments_.back().is_complete) {
        current_ = unsynced_.back();
        sums_in_current_ = scan.sums_in_last_segment;
        current_.sums->cut(sums_in_current_);
        current_.segment->cut(scan.end.lsn);
    }
    from_ = segments_.back().from;
    written_ = scan.end.lsn;
    next_ = readable_ = scan.end;
    is_directory_unsynced_ = true;
    sync_files();
}

WalLog::UnderWay WalLog::open_partial(WalPosition start) const {
    return {std::make_shared<WalSegment>(WalFile::open(directory_.partial_file(start)), start),
            std::make_shared<WalSumsFile>(WalFile::open(directory_.sums_file(start)))};
}

// -- Writing --

void WalLog::begin_at(TimelineId timeline, Lsn start) {
    const std::lock_guard lock{mutex_};
    if (!segments_.empty() || !gathered_.empty())
        throw Error(fmt::format("{} can't begin anew: it is not empty", directory_.path.string()));
    if (timeline.value == 0 || start != directory_.segment_start(start))
        throw Error(fmt::format("a log of WAL can't begin at {}: no segment starts there",
                                WalPosition{timeline, start}.to_string()));
    written_ = from_ = start;
    next_ = readable_ = durable_ = {timeline, start};
}

void WalLog::append(TimelineId timeline, Lsn at, std::string_view bytes) {
    const WalPosition begin{timeline, at};
    if (begin != next_ || timeline.value == 0)
        throw Error(
            fmt::format("WAL out of order: {} where {} was expected", begin.to_string(), next_.to_string()));
    if (at < from_) compare(at, bytes);
    gathered_ += bytes;
    next_.lsn.value += bytes.size();
}

// Two servers may have gone over to a timeline of the same number, each to its own.
void WalLog::compare(Lsn at, std::string_view bytes) const {
    const std::string_view repeating = bytes.substr(0, from_.value - at.value);
    std::string before(repeating.size(), '\0');
    before.resize(repeated_->read(at, before.data(), before.size()));
    if (repeating != before)
        throw Error(
            fmt::format("timeline {} does not go on where timeline {} ends, at {}: it has other WAL "
                        "after {}",
                        next_.timeline.value, repeated_->timeline().value, from_.to_string(), at.to_string()),
            "the upstream is of another history: begin the log anew");
}

void WalLog::flush() {
    while (!gathered_.empty()) {
        if (!current_.segment || written_ == directory_.segment_end(current_.segment->start()))
            begin_segment();
        const std::uint64_t room = directory_.segment_end(current_.segment->start()).value - written_.value;
        const std::size_t bytes = std::min<std::uint64_t>(gathered_.size(), room);
        write(std::string_view{gathered_}.substr(0, bytes));
        gathered_.erase(0, bytes);
    }
}

void WalLog::begin_segment() {
    const WalPosition start{next_.timeline, written_};
    UnderWay begun;
    begun.sums = std::make_shared<WalSumsFile>(
        WalSumsFile::create(directory_.sums_file(start), {start, directory_.segment_bytes}));
    begun.segment = std::make_shared<WalSegment>(WalFile::create(directory_.partial_file(start)), start);
    // Once in a log's life: with its first segment missing, a crash would leave one that begins with the
    // next.
    if (begin() == start) fsync_directory(directory_.path);
    const std::lock_guard lock{mutex_};
    segments_.push_back({start, std::max(start.lsn, from_), false, begun.segment});
    unsynced_.push_back(begun);
    is_directory_unsynced_ = true;
    current_ = std::move(begun);
    sums_in_current_ = 0;
}

// The sum last: bytes that have none count as a torn tail.
void WalLog::write(std::string_view batch) {
    const WalPosition on_disk = durable();
    const bool is_known = on_disk > WalPosition{next_.timeline, from_};
    const Lsn end{written_.value + batch.size()};
    current_.segment->write(written_, batch);
    current_.sums->write(sums_in_current_,
                         {.end = end, .crc = crc32c(batch), .durable = is_known ? on_disk.lsn : Lsn{}});
    ++sums_in_current_;
    written_ = end;
    if (written_ <= from_) return;  // it still repeats
    const std::lock_guard lock{mutex_};
    readable_ = {next_.timeline, written_};
}

// -- Bringing it to disk --

WalPosition WalLog::sync() {
    const std::lock_guard files{files_mutex_};
    return sync_files();
}

WalPosition WalLog::sync_files() {
    std::vector<UnderWay> unsynced;
    WalPosition end;
    bool is_news = false;
    bool with_directory = false;
    {
        const std::lock_guard lock{mutex_};
        unsynced = unsynced_;
        end = readable_;
        is_news = end != durable_;
        if (is_news) with_directory = std::exchange(is_directory_unsynced_, false);
    }
    if (is_news) {
        for (const auto& [segment, sums] : unsynced) {
            segment->sync();
            sums->sync();
        }
        if (with_directory) fsync_directory(directory_.path);
        const std::lock_guard lock{mutex_};
        durable_ = end;
    }
    for (const UnderWay& each : unsynced) {
        const WalPosition start = each.segment->start();
        if (WalPosition{start.timeline, directory_.segment_end(start)} <= end) complete(each);
    }
    return end;
}

// Its bytes are on disk. First the sums that a complete segment has, then the name: the sums of one that has
// its name are never missing.
void WalLog::complete(const UnderWay& full) {
    const WalPosition start = full.segment->start();
    WalResummer resummer{{start, directory_.segment_bytes}, directory_.segment_end(start)};
    const WalCheck checked = check_wal_segment(*full.segment, *full.sums, {.resummer = &resummer});
    if (checked.ended) throw LogCorrupt(checked.ended->to_string());
    try {
        write_file_durably(directory_.sums_file(start), resummer.file(), 0600);
    } catch (const SystemError& problem) {
        if (problem.error_number() != ENOSPC && problem.error_number() != EDQUOT) throw;
        return;  // it stays as it is, whole and safe, until a later sync() finds room
    }
    {
        const std::lock_guard lock{mutex_};
        rename_file(directory_.partial_file(start), directory_.complete_file(start));
        find_segment(start)->is_complete = true;
        forget_unsynced(start);
    }
    fsync_directory(directory_.path);
}

// The lock is held.
bool WalLog::is_unsynced(WalPosition start) const {
    return std::any_of(unsynced_.begin(), unsynced_.end(),
                       [&](const UnderWay& each) { return each.segment->start() == start; });
}

// The lock is held.
void WalLog::forget_unsynced(WalPosition start) {
    std::erase_if(unsynced_, [&](const UnderWay& each) { return each.segment->start() == start; });
}

// -- Reading --

WalPosition WalLog::begin() const {
    const std::lock_guard lock{mutex_};
    return segments_.empty() ? readable_ : segments_.front().start;
}

WalPosition WalLog::readable() const {
    const std::lock_guard lock{mutex_};
    return readable_;
}

WalPosition WalLog::durable() const {
    const std::lock_guard lock{mutex_};
    return durable_;
}

std::uint64_t WalLog::cuts() const {
    const std::lock_guard lock{mutex_};
    return cuts_;
}

// The lock is held.
WalLog::Segment* WalLog::find_segment(WalPosition start) const {
    const auto found =
        std::lower_bound(segments_.begin(), segments_.end(), start,
                         [](const Segment& segment, WalPosition wanted) { return segment.start < wanted; });
    return found != segments_.end() && found->start == start ? &*found : nullptr;
}

std::shared_ptr<const WalSegment> WalLog::segment_at(TimelineId timeline, Lsn lsn) const {
    const std::lock_guard lock{mutex_};
    if (timeline > readable_.timeline) return nullptr;
    const WalPosition start{timeline, directory_.segment_start(lsn)};
    Segment* found = find_segment(start);
    if (found == nullptr) return nullptr;
    std::shared_ptr<WalSegment> open = found->open.lock();
    if (!open) {
        const fs::path file =
            found->is_complete ? directory_.complete_file(start) : directory_.partial_file(start);
        open = std::make_shared<WalSegment>(WalFile::open_for_reading(file), start);
        found->open = open;
    }
    return open;
}

// -- Histories --

void WalLog::add_history(TimelineId timeline, std::string_view content) const {
    write_file_durably(directory_.history_file(timeline), content, 0600);
}

std::optional<std::string> WalLog::history(TimelineId timeline) const {
    try {
        return read_file(directory_.history_file(timeline));
    } catch (const SystemError& problem) {
        if (problem.error_number() == ENOENT) return std::nullopt;
        throw;
    }
}

}  // namespace pgcascade::log
