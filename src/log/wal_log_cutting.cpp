#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include <pgcascade/error.hpp>

#include "log/wal_check.hpp"
#include "log/wal_log.hpp"

// What takes something away from the log: a change of the timeline, and retention. A crash at any moment
// leaves files that are a log: one that ends, or begins, where it did or where it is to, or in between.

namespace pgcascade::log {

std::uint64_t WalLog::switch_timeline(TimelineId next, Lsn switch_point) {
    flush();
    const WalPosition end = readable();
    if (switch_point > end.lsn)
        throw Error(fmt::format("timeline {} begins at {}, but the log ends before that, at {}", next.value,
                                switch_point.to_string(), end.to_string()));
    {
        const std::lock_guard lock{mutex_};
        const std::size_t kept = count_below(switch_point);
        if (kept > 0 && next <= segments_[kept - 1].start.timeline)
            throw Error(fmt::format("timeline {} can't follow timeline {}", next.value,
                                    segments_[kept - 1].start.timeline.value));
    }
    const std::uint64_t bytes = cut_back(switch_point);
    const Lsn start = directory_.segment_start(switch_point);
    const std::lock_guard lock{mutex_};
    if (current_.segment) forget_unsynced(current_.segment->start());
    repeated_ = std::exchange(current_, {}).segment;
    from_ = segments_.empty() ? start : switch_point;
    written_ = start;
    next_ = {next, start};
    if (segments_.empty()) readable_ = durable_ = next_;
    return bytes;
}

std::uint64_t WalLog::cut_back(Lsn end) {
    flush();
    const std::lock_guard files{files_mutex_};
    const WalPosition old_begin = begin();
    const WalPosition old_end = sync_files();
    if (end > old_end.lsn)
        throw Error(fmt::format("the log can't be cut back to {}: it ends before that, at {}",
                                end.to_string(), old_end.to_string()));
    std::size_t kept = 0;
    {
        const std::lock_guard lock{mutex_};
        kept = count_below(end);
        // Readers first: who finds a segment short must find out why.
        readable_ = kept == 0 ? WalPosition{} : WalPosition{segments_[kept - 1].start.timeline, end};
        durable_ = readable_;
        if (readable_ != old_end) ++cuts_;
    }
    current_ = {};
    while (segments_.size() > kept) remove_last();
    if (kept > 0) cut_last(end);
    next_ = readable_;
    written_ = readable_.lsn;
    from_ = kept > 0 ? segments_.back().from : Lsn{};
    return old_end.lsn.value - std::max(end, old_begin.lsn).value;
}

// How many segments hold something of the log before it. The lock is held.
std::size_t WalLog::count_below(Lsn lsn) const {
    const auto is_below = [&](const Segment& segment) { return segment.from < lsn; };
    return static_cast<std::size_t>(std::partition_point(segments_.begin(), segments_.end(), is_below) -
                                    segments_.begin());
}

// A segment that lacks its sums is no damage only while it is partial; sums that lack their segment are.
void WalLog::remove_last() {
    Segment& last = segments_.back();
    const WalPosition start = last.start;
    make_partial(last);
    remove_file(directory_.sums_file(start));
    fsync_directory(directory_.path);
    remove_file(directory_.partial_file(start));
    fsync_directory(directory_.path);
    const std::lock_guard lock{mutex_};
    forget_unsynced(start);
    segments_.pop_back();
}

void WalLog::make_partial(Segment& segment) {
    if (!segment.is_complete) return;
    {
        const std::lock_guard lock{mutex_};
        rename_file(directory_.complete_file(segment.start), directory_.partial_file(segment.start));
        segment.is_complete = false;
    }
    fsync_directory(directory_.path);
}

// The sums first: bytes that have none count as a torn tail. The new ones say that all up to the cut is on
// disk, so that where this timeline ends stays certain.
void WalLog::cut_last(Lsn end) {
    Segment& last = segments_.back();
    if (end == directory_.segment_end(last.start)) return;
    make_partial(last);
    UnderWay cut = open_partial(last.start);
    WalResummer resummer{{last.start, directory_.segment_bytes}, end};
    const WalCheck checked = check_wal_segment(*cut.segment, *cut.sums, {.resummer = &resummer});
    if (checked.ended) throw LogCorrupt(checked.ended->to_string());
    write_file_durably(directory_.sums_file(last.start), resummer.file(), 0600);
    cut.segment->cut(end);
    cut.segment->sync();
    cut.sums = std::make_shared<WalSumsFile>(WalFile::open(directory_.sums_file(last.start)));
    sums_in_current_ = resummer.sums();
    current_ = cut;
    const std::lock_guard lock{mutex_};
    forget_unsynced(last.start);
    unsynced_.push_back(cut);
    last.open = cut.segment;
}

// Oldest first, each for certain: a gap in the row would be damage. The sums go last, so that a segment that
// lacks them is always damage, too. The next one must outlive a crash before this one goes.
void WalLog::remove_before(Lsn lsn) {
    const std::lock_guard files{files_mutex_};
    for (;;) {
        Segment oldest;
        {
            const std::lock_guard lock{mutex_};
            if (segments_.size() < 2) return;
            const Segment& next = segments_[1];
            if (next.from > lsn || durable_ <= WalPosition{next.start.timeline, next.from}) return;
            oldest = segments_.front();
            // One that waits for room for its new sums: only these would tell that it was being removed.
            if (is_unsynced(oldest.start)) return;
            segments_.erase(segments_.begin());
        }
        remove_file(oldest.is_complete ? directory_.complete_file(oldest.start)
                                       : directory_.partial_file(oldest.start));
        fsync_directory(directory_.path);
        remove_file(directory_.sums_file(oldest.start));
    }
}

}  // namespace pgcascade::log
