#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/crc32c.hpp"
#include "log/feed_segment.hpp"

namespace pgcascade::log {

struct FeedLogOptions {
    // A segment ends with the first entry that takes it there; an entry is never split.
    std::uint64_t segment_bytes = std::uint64_t{64} << 20;

    // The frames that a session needs first which starts in a segment that begins now.
    std::function<std::string()> preamble = [] { return std::string{}; };
};

// The durable log of one feed: the frames that its upstream sent, in the order and the form in which
// downstreams get them, as a row of entries (transactions). docs/log_format.md tells how it lies on disk.
//
// One thread writes: append(), finish_entry(), abandon_entry(), flush(), cut_back(). sync() and
// remove_before() may run beside it in others; all that is const, in any. What survives a crash: every entry
// below durable(), whole. What lies above is cut off at the next start back to the last whole entry, and is
// to be asked for again.
class FeedLog {
  public:
    // Opens the log in the directory, which must be there, and mends what a crash has left. The caller sees
    // to it that nobody else writes there. Throws LogCorrupt where something is missing or damaged that was
    // on disk, SystemError.
    explicit FeedLog(std::filesystem::path directory, FeedLogOptions options = {});

    // What the start has cut off, for the operator: nothing where the log ended well.
    struct Cut {
        std::uint64_t bytes = 0;
        std::string reason;
    };
    const std::optional<Cut>& cut() const { return cut_; }

    // Whole frames of the entry under way. They are gathered until flush().
    void append(std::string_view frames);

    // The entry under way is whole. Throws Error where it is empty, or where `commit_lsn` lies below that of
    // the entry before; at it, too, unless that one was a keepalive: the same transaction can't come twice.
    void finish_entry(Lsn commit_lsn, Lsn end_lsn, std::uint32_t flags = 0);

    // The upstream will not send the rest of it: forgets it. Who has read of it has read too far; see
    // abandoned(). May be tried again after a SystemError.
    void abandon_entry();

    // Writes what was gathered; from then on it is readable. After a SystemError (the disk is full) nothing
    // is lost: it may be tried again.
    void flush();
    std::uint64_t gathered_bytes() const { return frames_.size(); }

    // What lies beyond an LSN: the entries that end there, or begin there and are no keepalives.
    struct Beyond {
        std::uint64_t bytes = 0;         // of readable entries
        std::uint64_t transactions = 0;  // and lone messages: all but the keepalives
        Lsn first_end;                   // end_lsn of the first of these
    };

    // Of the writing thread. Throws LogCorrupt, SystemError.
    Beyond beyond(Lsn end) const;

    // The upstream's history does not have what lies beyond `end`: cuts it away, and what is under way too.
    // Every reader has to find its place anew; see cuts(). A failure must end the process; the next start
    // finds a log that ends there or later.
    void cut_back(Lsn end);

    // How often that was done. A reader takes the segment to read from first, and then looks here: where the
    // number has not changed since it chose its place, what it reads is the log's.
    std::uint64_t cuts() const { return cuts_; }

    // The last entry that is whole, written or not. Of the writing thread.
    const std::optional<FeedEntry>& last_gathered() const { return last_gathered_; }

    // Brings the whole entries that are readable to disk; returns their end. A failure must end the process:
    // what the disk holds is unknown from then on.
    FeedPosition sync();

    FeedPosition begin() const;
    FeedPosition readable() const { return {readable_}; }  // of the entry under way too
    FeedPosition finished() const { return {finished_}; }  // of whole entries only
    FeedPosition durable() const { return {durable_}; }

    // How many entries were abandoned after somebody could have read of them. A reader that stands behind
    // finished() takes the segment to read from first, and then looks here: where the number has not changed
    // since it entered the entry, the segment holds the bytes of that entry, or ends short, for ever.
    std::uint64_t abandoned() const { return abandoned_; }

    // The last entry that is readable and whole; nothing where there was none yet.
    std::optional<FeedEntry> last() const;

    // Where a reader begins that asks for `from`: the first entry whose commit_lsn is not below it,
    // finished() where there is none yet. The oldest entry where those before were removed. Throws
    // LogCorrupt.
    FeedPosition find(Lsn from) const;

    // The last entry that ends at or before the position; nothing where the log holds none. Throws
    // LogCorrupt.
    std::optional<FeedEntry> entry_before(FeedPosition position) const;

    // The segment in which the byte at this position stands, or will stand; null where it was removed. It can
    // be read for as long as somebody holds it. Throws SystemError and LogCorrupt where it can't be opened.
    std::shared_ptr<const FeedSegment> segment_at(FeedPosition position) const;

    // Removes the segments that lie below it whole, but for the last one of which something is on disk. Any
    // thread.
    void remove_before(FeedPosition position);

    // Whether there are such segments, once what follows them is on disk.
    bool can_remove_before(FeedPosition position) const;

  private:
    // A long log has more segments than a process may have files open: they are opened when they are read.
    struct Segment {
        FeedPosition position;
        Lsn after;
        std::weak_ptr<FeedSegment> open;
    };
    using SegmentPointer = std::shared_ptr<FeedSegment>;

    // Where the log ends once it is cut back.
    struct NewEnd {
        FeedPosition segment;
        FeedPosition end;
        std::size_t entries = 0;  // in that segment
        std::optional<FeedEntry> last;
    };

    void recover();
    Segment* find_segment(FeedPosition position) const;
    SegmentPointer open_segment(FeedPosition position) const;
    void begin_segment();
    void write_entries();
    FeedPosition sync_files();

    NewEnd find_new_end(Lsn end) const;
    void forget_beyond(const NewEnd& kept);
    void remove_last_segment();
    void cut_last_segment(const NewEnd& kept);

    FeedPosition find_now(Lsn from) const;
    std::optional<FeedEntry> entry_before_now(FeedPosition position) const;

    const std::filesystem::path directory_;
    const FeedLogOptions options_;
    std::optional<Cut> cut_;

    // Of the writing thread.
    SegmentPointer current_;
    std::size_t entries_in_current_ = 0;  // written to its index
    std::string frames_;                  // gathered, from written_ on
    std::string records_;                 // of entries whose frames are gathered or written
    FeedPosition written_;
    FeedPosition gathered_;     // where the next frame will stand
    FeedPosition entry_begin_;  // of the entry under way
    Crc32c crc_;                // of it
    std::optional<FeedEntry> last_gathered_;
    bool is_segment_over_ = false;  // what is written next goes into a new one

    std::atomic<std::uint64_t> readable_{0};
    std::atomic<std::uint64_t> finished_{0};
    std::atomic<std::uint64_t> durable_{0};
    std::atomic<std::uint64_t> abandoned_{0};
    std::atomic<std::uint64_t> cuts_{0};

    // Held while files are brought to disk or taken away. Taken before the other one.
    mutable std::mutex files_mutex_;

    // The list of segments is read by every session, and changed when a segment begins or is removed.
    mutable std::mutex mutex_;
    mutable std::vector<Segment> segments_;
    std::vector<SegmentPointer> unsynced_;  // whose files may hold what is not on disk
    bool is_directory_unsynced_ = false;
    std::optional<FeedEntry> last_;
};

}  // namespace pgcascade::log
