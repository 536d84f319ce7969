#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <pgcascade/lsn.hpp>

#include "log/wal_name.hpp"
#include "log/wal_segment.hpp"
#include "log/wal_sums_file.hpp"

namespace pgcascade::log {

struct WalLogOptions {
    std::uint64_t segment_bytes = std::uint64_t{16} << 20;  // the upstream's wal_segment_size
};

// The durable log of the WAL that one upstream sent, as segment files that PostgreSQL's own programs can
// read. docs/log_format.md tells how it lies on disk.
//
// The log has one history: a timeline ends where the next one begins, and that one's first segment repeats
// the bytes before that place. What the upstream's history does not share is cut away.
//
// One thread writes: begin_at(), append(), flush(), switch_timeline(), cut_back(). sync() and remove_before()
// may run beside it in others; all that is const, and add_history(), in any. What survives a crash: all
// before durable(). What lies above is cut off at the next start back to where the last whole batch ends, and
// is to be asked for again.
class WalLog {
  public:
    // Opens the log in the directory, which must be there, and mends what a crash has left. The caller sees
    // to it that nobody else writes there. Throws LogCorrupt where something is missing or damaged that was
    // on disk, Error where the segments have another size, SystemError.
    explicit WalLog(std::filesystem::path directory, WalLogOptions options = {});

    // What the start has cut off, for the operator: nothing where the log ended well.
    struct Cut {
        std::uint64_t bytes = 0;
        std::string reason;
    };
    const std::optional<Cut>& cut() const { return cut_; }

    // Where an empty log begins. Throws Error where it is not empty, or no segment starts there.
    void begin_at(TimelineId timeline, Lsn start);

    // Where the next byte must stand: what to ask the upstream for. All zero: begin_at() comes first.
    WalPosition next() const { return next_; }

    // Gathered until flush(). Throws Error where it does not begin at next(), and where it repeats bytes of
    // the timeline before, but others.
    void append(TimelineId timeline, Lsn at, std::string_view bytes);

    // Writes what was gathered; from then on it is readable. After a SystemError (the disk is full) nothing
    // is lost: it may be tried again.
    void flush();
    std::uint64_t gathered_bytes() const { return gathered_.size(); }

    // The upstream goes on with `next`, which branches off the log's history at `switch_point`: cuts the log
    // back to there, and returns how many bytes that were. What comes next is the new timeline from the start
    // of the segment that holds the switch point; it is readable once it goes beyond it. Throws Error where
    // the log ends before the switch point: the rest of the old timeline comes first. Any other failure must
    // end the process; the next start finds a log that ends at the switch point or later.
    std::uint64_t switch_timeline(TimelineId next, Lsn switch_point);

    // The same without a new timeline: where the upstream's history left the log's before that timeline did.
    // A log of which nothing is left has to begin anew.
    std::uint64_t cut_back(Lsn end);

    // Durable when it returns; replaces what was there.
    void add_history(TimelineId timeline, std::string_view content) const;

    // Byte for byte as it was added; nothing where it was not.
    std::optional<std::string> history(TimelineId timeline) const;

    // Brings what is readable to disk, and gives complete segments their names; returns its end. A failure
    // must end the process: what the disk holds is unknown from then on.
    WalPosition sync();

    // All zero before begin_at().
    WalPosition begin() const;
    WalPosition readable() const;  // its timeline is the log's
    WalPosition durable() const;

    // How often something readable was cut away. A reader takes the segment to read from first, and then
    // looks here and at readable(): where the number has not changed since it chose its place, the segment
    // holds what is readable there, or ends short, for ever.
    std::uint64_t cuts() const;

    // The segment of that timeline in which the byte at this LSN stands; null where it was removed, or is not
    // there yet. It can be read for as long as somebody holds it. Throws SystemError.
    std::shared_ptr<const WalSegment> segment_at(TimelineId timeline, Lsn lsn) const;

    // Removes the segments that lie below it whole, but never the last. Histories stay.
    void remove_before(Lsn lsn);

  private:
    // A long log has more segments than a process may have files open: they are opened when they are read.
    struct Segment {
        WalPosition start;
        Lsn from;  // what lies below repeats the timeline before
        bool is_complete = false;
        std::weak_ptr<WalSegment> open;
    };
    struct UnderWay {
        std::shared_ptr<WalSegment> segment;
        std::shared_ptr<WalSumsFile> sums;
    };

    void recover();
    Segment* find_segment(WalPosition start) const;
    UnderWay open_partial(WalPosition start) const;
    void begin_segment();
    void write(std::string_view batch);
    void compare(Lsn at, std::string_view bytes) const;

    WalPosition sync_files();
    void complete(const UnderWay& full);
    bool is_unsynced(WalPosition start) const;
    void forget_unsynced(WalPosition start);

    std::size_t count_below(Lsn lsn) const;
    void remove_last();
    void cut_last(Lsn end);
    void make_partial(Segment& segment);

    const WalDirectory directory_;
    std::optional<Cut> cut_;

    // Of the writing thread.
    UnderWay current_;
    std::size_t sums_in_current_ = 0;
    std::string gathered_;
    WalPosition next_;                            // where the next byte to be appended will stand
    Lsn written_;                                 // where the first that is gathered will stand
    Lsn from_;                                    // what lies below repeats the timeline before …
    std::shared_ptr<const WalSegment> repeated_;  // … which stands in here

    // Held while files are brought to disk, renamed or removed. Taken before the other one.
    std::mutex files_mutex_;

    // The list of segments is read by every session, and changed when a segment begins, is completed or
    // removed.
    mutable std::mutex mutex_;
    mutable std::vector<Segment> segments_;
    std::vector<UnderWay> unsynced_;  // whose files may hold what is not on disk
    bool is_directory_unsynced_ = false;
    WalPosition readable_;
    WalPosition durable_;
    std::uint64_t cuts_ = 0;
};

}  // namespace pgcascade::log
