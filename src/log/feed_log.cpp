#include "log/feed_log.hpp"

#include <algorithm>
#include <cerrno>
#include <utility>

#include <fmt/format.h>
#include <unistd.h>

#include <pgcascade/error.hpp>

#include "log/feed_scan.hpp"

namespace pgcascade::log {

namespace fs = std::filesystem;

namespace {

void remove_file(const fs::path& file) {
    if (::unlink(file.c_str()) != 0 && errno != ENOENT)
        throw SystemError("can't remove " + file.string(), errno);
}

void remove_segment(const fs::path& directory, FeedPosition position) {
    remove_file(FeedSegment::index_file(directory, position));
    remove_file(FeedSegment::frames_file(directory, position));
}

}  // namespace

FeedLog::FeedLog(fs::path directory, FeedLogOptions options)
    : directory_(std::move(directory)), options_(std::move(options)) {
    recover();
}

void FeedLog::recover() {
    const FeedScan scan = scan_feed(directory_, ScanDepth::kTail);
    if (!scan.corruptions.empty())
        throw LogCorrupt(scan.corruptions.front().to_string() + ", though it was on disk",
                         "restore the file, or begin the feed anew: its downstreams need a new copy then");
    if (scan.torn || scan.tail_bytes > 0)
        cut_ = Cut{scan.tail_bytes, scan.torn ? scan.torn->to_string() : "the last entry is not whole"};
    // The newest first: what is left of a crash in here is again a row that ends early.
    for (auto leftover = scan.leftovers.rbegin(); leftover != scan.leftovers.rend(); ++leftover)
        remove_segment(directory_, *leftover);
    for (const FeedScan::Segment& found : scan.segments) {
        current_ = std::make_shared<FeedSegment>(directory_, found.position);
        segments_.push_back({found.position, current_->header().after, current_});
        if (current_->end() > scan.durable) unsynced_.push_back(current_);
        // The rest of an abandoned entry, of which the disk knew nothing yet that it was cut away.
        if (current_->end() > found.end) current_->cut(found.end, found.entries);
    }
    last_ = last_gathered_ = scan.last;
    written_ = gathered_ = entry_begin_ = scan.end;
    if (segments_.empty()) {
        begin_segment();
    } else {
        entries_in_current_ = scan.segments.back().entries;
        current_->cut(scan.end, entries_in_current_);
        is_segment_over_ = !last_;  // what came before it may have been cut away, too
    }
    for (const SegmentPointer& segment : unsynced_) segment->sync();
    current_->sync();
    fsync_directory(directory_);
    unsynced_ = {current_};
    is_directory_unsynced_ = false;
    readable_ = finished_ = durable_ = scan.end.value;
}

void FeedLog::begin_segment() {
    const Lsn after = last_ ? last_->commit_lsn : Lsn{};  // what is only gathered comes into it
    auto segment = std::make_shared<FeedSegment>(
        FeedSegment::create(directory_, {written_, after, options_.preamble()}));
    const bool is_first = segments_.empty() || segments_.front().position == written_;
    if (is_first) {  // where the log begins must be certain before anything is in it
        segment->sync();
        fsync_directory(directory_);
    }
    const std::lock_guard lock{mutex_};
    if (!segments_.empty() && segments_.back().position == written_)
        segments_.pop_back();  // an abandoned one
    segments_.push_back({written_, after, segment});
    unsynced_.push_back(segment);
    is_directory_unsynced_ = true;
    current_ = std::move(segment);
    entries_in_current_ = 0;
    is_segment_over_ = false;
}

// -- Writing --

void FeedLog::append(std::string_view frames) {
    frames_ += frames;
    crc_.update(frames);
    gathered_ = gathered_ + frames.size();
}

void FeedLog::finish_entry(Lsn commit_lsn, Lsn end_lsn, std::uint32_t flags) {
    if (gathered_ == entry_begin_) throw Error("an entry of a feed can't be empty");
    const bool is_after_keepalive = last_gathered_ && (last_gathered_->flags & FeedEntry::kIsKeepalive) != 0;
    if (last_gathered_ && (commit_lsn < last_gathered_->commit_lsn ||
                           (commit_lsn == last_gathered_->commit_lsn && !is_after_keepalive)))
        throw Error(fmt::format("entries of a feed out of order: {} after {}", commit_lsn.to_string(),
                                last_gathered_->commit_lsn.to_string()));
    const FeedEntry entry{.begin = entry_begin_,
                          .end = gathered_,
                          .commit_lsn = commit_lsn,
                          .end_lsn = end_lsn,
                          .durable = durable(),
                          .flags = flags,
                          .crc = crc_.value()};
    records_ += to_bytes(entry);
    last_gathered_ = entry;
    entry_begin_ = gathered_;
    crc_ = Crc32c{};
}

void FeedLog::abandon_entry() {
    frames_.resize(frames_.size() - bytes_between(std::max(written_, entry_begin_), gathered_));
    gathered_ = entry_begin_;
    crc_ = Crc32c{};
    if (written_ <= entry_begin_) return;
    write_entries();
    // Who reads in there must never find other bytes at that place: what comes next gets a file of its own.
    current_->cut(entry_begin_, entries_in_current_);
    written_ = entry_begin_;
    readable_ = written_.value;
    is_segment_over_ = true;
    ++abandoned_;
}

void FeedLog::flush() {
    if (is_segment_over_) begin_segment();
    // The frames first: an entry that is in the index is readable.
    if (!frames_.empty()) {
        current_->write_frames(written_, frames_);
        written_ = gathered_;
        frames_.clear();
        readable_ = written_.value;
    }
    write_entries();
    const bool is_full = bytes_between(current_->position(), written_) >= options_.segment_bytes;
    if (is_full && entry_begin_ == written_) begin_segment();
}

void FeedLog::write_entries() {
    if (records_.empty()) return;
    current_->write_entries(entries_in_current_, records_);
    entries_in_current_ += records_.size() / kFeedEntryBytes;
    records_.clear();
    const std::lock_guard lock{mutex_};
    last_ = last_gathered_;
    finished_ = entry_begin_.value;
}

FeedPosition FeedLog::sync() {
    const std::lock_guard files{files_mutex_};
    return sync_files();
}

FeedPosition FeedLog::sync_files() {
    std::vector<SegmentPointer> segments;
    FeedPosition end;
    bool with_directory = false;
    {
        const std::lock_guard lock{mutex_};
        segments = unsynced_;
        end = finished();
        if (end == durable()) return end;
        with_directory = std::exchange(is_directory_unsynced_, false);
    }
    for (const SegmentPointer& segment : segments) segment->sync();
    if (with_directory) fsync_directory(directory_);
    const std::lock_guard lock{mutex_};
    // The last of them may have been written to meanwhile.
    std::erase_if(unsynced_, [&](const SegmentPointer& segment) {
        return segment != segments.back() &&
               std::find(segments.begin(), segments.end(), segment) != segments.end();
    });
    durable_ = end.value;
    return end;
}

// -- Reading --

FeedPosition FeedLog::begin() const {
    const std::lock_guard lock{mutex_};
    return segments_.front().position;
}

bool FeedLog::can_remove_before(FeedPosition position) const {
    const std::lock_guard lock{mutex_};
    return segments_.size() > 1 && segments_[1].position <= position;
}

std::optional<FeedEntry> FeedLog::last() const {
    const std::lock_guard lock{mutex_};
    return last_;
}

// The lock is held.
FeedLog::Segment* FeedLog::find_segment(FeedPosition position) const {
    const auto next = std::upper_bound(
        segments_.begin(), segments_.end(), position,
        [](FeedPosition wanted, const Segment& segment) { return wanted < segment.position; });
    return next == segments_.begin() ? nullptr : &*std::prev(next);
}

std::shared_ptr<const FeedSegment> FeedLog::segment_at(FeedPosition position) const {
    return open_segment(position);
}

FeedLog::SegmentPointer FeedLog::open_segment(FeedPosition position) const {
    const std::lock_guard lock{mutex_};
    Segment* segment = find_segment(position);
    if (segment == nullptr) return nullptr;
    SegmentPointer open = segment->open.lock();
    if (!open) {
        open = std::make_shared<FeedSegment>(directory_, segment->position);
        segment->open = open;
    }
    return open;
}

namespace {

FeedEntry checked_entry(const FeedSegment& segment, std::size_t number) {
    if (const auto entry = segment.entry(number)) return *entry;
    throw LogCorrupt(fmt::format("{}, offset {}: the entry is damaged", segment.index_file().string(),
                                 segment.index_offset(number)),
                     "restore the file, or begin the feed anew");
}

// How many of its entries, which stand in order, come before the first that is not.
template <class Predicate>
std::size_t count_before(const FeedSegment& segment, Predicate is_before) {
    std::size_t low = 0;
    std::size_t high = segment.entries();
    while (low < high) {
        const std::size_t middle = low + (high - low) / 2;
        if (is_before(checked_entry(segment, middle)))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

}  // namespace

// Entries that vanish while somebody looks at them were cut away: then he looks once more.
template <class Look>
static auto look_beside_cuts(const FeedLog& log, Look look) {
    for (;;) {
        const std::uint64_t cuts = log.cuts();
        try {
            return look();
        } catch (const LogCorrupt&) {
            if (cuts == log.cuts()) throw;
        }
    }
}

FeedPosition FeedLog::find(Lsn from) const {
    return look_beside_cuts(*this, [&] { return find_now(from); });
}

std::optional<FeedEntry> FeedLog::entry_before(FeedPosition position) const {
    return look_beside_cuts(*this, [&] { return entry_before_now(position); });
}

FeedPosition FeedLog::find_now(Lsn from) const {
    FeedPosition begin;
    FeedPosition end;
    {
        const std::lock_guard lock{mutex_};
        // An entry that is not below `from` stands in the last segment that begins below it, or follows it.
        const auto next = std::partition_point(segments_.begin(), segments_.end(),
                                               [&](const Segment& segment) { return segment.after < from; });
        if (next == segments_.begin()) return segments_.front().position;
        begin = std::prev(next)->position;
        end = next == segments_.end() ? finished() : next->position;
    }
    const std::shared_ptr<const FeedSegment> segment = segment_at(begin);
    if (!segment || segment->position() != begin) return find_now(from);  // removed meanwhile
    const std::size_t skipped =
        count_before(*segment, [&](const FeedEntry& entry) { return entry.commit_lsn < from; });
    return skipped < segment->entries() ? std::min(checked_entry(*segment, skipped).begin, end) : end;
}

std::optional<FeedEntry> FeedLog::entry_before_now(FeedPosition position) const {
    for (FeedPosition at = position;;) {
        const std::shared_ptr<const FeedSegment> segment = segment_at(at);
        if (!segment) return std::nullopt;
        const std::size_t whole =
            count_before(*segment, [&](const FeedEntry& entry) { return entry.end <= position; });
        if (whole > 0) return checked_entry(*segment, whole - 1);
        if (segment->position().value == 0) return std::nullopt;
        at = {segment->position().value - 1};
    }
}

void FeedLog::remove_before(FeedPosition position) {
    const std::lock_guard files{files_mutex_};
    for (;;) {
        FeedPosition oldest;
        {
            const std::lock_guard lock{mutex_};
            // Something of the next one must outlive a crash before this one goes: by its last entry the log
            // knows where it stands.
            if (segments_.size() < 2 || segments_[1].position > position ||
                segments_[1].position >= durable())
                return;
            oldest = segments_.front().position;
            segments_.erase(segments_.begin());
        }
        // One after the other, each for certain: a gap in the row would be damage.
        remove_segment(directory_, oldest);
        fsync_directory(directory_);
    }
}

// -- Cutting back --

namespace {

// A lone message ends where its record begins.
bool is_beyond(const FeedEntry& entry, Lsn end) {
    const bool is_keepalive = (entry.flags & FeedEntry::kIsKeepalive) != 0;
    return entry.end_lsn > end || (!is_keepalive && entry.commit_lsn >= end);
}

}  // namespace

FeedLog::Beyond FeedLog::beyond(Lsn end) const {
    const std::lock_guard files{files_mutex_};
    const NewEnd kept = find_new_end(end);
    Beyond found{.bytes = bytes_between(kept.end, finished()), .first_end = {}};
    for (FeedPosition at = kept.end; at < finished();) {
        const auto segment = segment_at(at);
        const std::size_t staying = segment->position() == kept.segment ? kept.entries : 0;
        for (std::size_t number = staying; number < segment->entries(); ++number) {
            const FeedEntry entry = checked_entry(*segment, number);
            at = entry.end;
            if ((entry.flags & FeedEntry::kIsKeepalive) != 0) continue;
            if (found.transactions++ == 0) found.first_end = entry.end_lsn;
        }
    }
    return found;
}

// A crash at any call leaves a log that ends where it did, or where it is to, or in between: the newest
// entries are taken away first, each for certain, and with them what they say of those before them.
void FeedLog::cut_back(Lsn end) {
    abandon_entry();
    flush();
    const std::lock_guard files{files_mutex_};
    sync_files();
    const NewEnd kept = find_new_end(end);
    forget_beyond(kept);
    while (segments_.back().position > kept.segment) remove_last_segment();
    cut_last_segment(kept);
}

// The last segment that holds something of what stays; the first one where none does.
FeedLog::NewEnd FeedLog::find_new_end(Lsn end) const {
    for (std::size_t number = segments_.size(); number-- > 0;) {
        const auto segment = open_segment(segments_[number].position);
        const std::size_t staying =
            count_before(*segment, [&](const FeedEntry& entry) { return !is_beyond(entry, end); });
        if (staying == 0 && number > 0) continue;
        NewEnd found{segment->position(), segment->position(), staying, std::nullopt};
        if (staying > 0) {
            found.last = checked_entry(*segment, staying - 1);
            found.end = found.last->end;
        }
        return found;
    }
    throw Error("a feed's log has one segment at least");
}

// Before the files change: a reader who finds one short must find out why.
void FeedLog::forget_beyond(const NewEnd& kept) {
    written_ = gathered_ = entry_begin_ = kept.end;
    last_gathered_ = kept.last;
    is_segment_over_ = true;
    const std::lock_guard lock{mutex_};
    readable_ = finished_ = durable_ = kept.end.value;
    last_ = kept.last;
    ++cuts_;
}

// The index first: frames without one are no damage but a segment that was never whole.
void FeedLog::remove_last_segment() {
    FeedPosition position;
    {
        const std::lock_guard lock{mutex_};
        position = segments_.back().position;
        std::erase_if(unsynced_,
                      [&](const SegmentPointer& segment) { return segment->position() == position; });
        segments_.pop_back();
    }
    remove_file(FeedSegment::index_file(directory_, position));
    fsync_directory(directory_);
    remove_file(FeedSegment::frames_file(directory_, position));
    fsync_directory(directory_);
}

// Its frames only once the disk knows of no entry any more that says they were on disk.
void FeedLog::cut_last_segment(const NewEnd& kept) {
    const SegmentPointer segment = open_segment(kept.segment);
    segment->cut(segment->end(), kept.entries);
    segment->sync();
    segment->cut(kept.end, kept.entries);
    segment->sync();
    current_ = segment;
    entries_in_current_ = kept.entries;
    const std::lock_guard lock{mutex_};
    if (std::find(unsynced_.begin(), unsynced_.end(), segment) == unsynced_.end())
        unsynced_.push_back(segment);
}

}  // namespace pgcascade::log
