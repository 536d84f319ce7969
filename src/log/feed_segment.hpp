#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <optional>
#include <string_view>

#include "base/file.hpp"
#include "log/feed_index.hpp"
#include "log/scan.hpp"

namespace pgcascade::log {

// One segment of a feed: a file of frames, as downstreams get them, and its index, which tells where each
// entry stands. Named after its position: 0000000000c0ffee.frames and .index.
//
// Reading is safe from any thread, beside one writer. Everything throws SystemError.
class FeedSegment {
  public:
    static std::filesystem::path frames_file(const std::filesystem::path& directory, FeedPosition position);
    static std::filesystem::path index_file(const std::filesystem::path& directory, FeedPosition position);

    // Whose file that is; nothing where it is none of a segment.
    static std::optional<FeedPosition> position_of(const std::filesystem::path& file);

    // A new one; replaces what is left of an unfinished one at that position. Nothing is durable until
    // sync() and a sync of the directory.
    static FeedSegment create(const std::filesystem::path& directory, const FeedSegmentHeader& header);

    // One that is there. Throws LogCorrupt where its header is damaged or that of another position.
    FeedSegment(const std::filesystem::path& directory, FeedPosition position);

    // The same, without the right to change anything.
    static FeedSegment open_for_reading(const std::filesystem::path& directory, FeedPosition position);

    const FeedSegmentHeader& header() const { return header_; }
    FeedPosition position() const { return header_.position; }

    // As the files are now: behind the last entry frames may follow that are none yet.
    FeedPosition end() const;
    std::size_t entries() const;

    // Nothing where it is damaged, or does not stand in this segment's frames.
    std::optional<FeedEntry> entry(std::size_t number) const;

    // All of them in order, as entry() gives them, until `take` answers false. Reads many at once.
    void for_each_entry(
        const std::function<bool(std::size_t number, const std::optional<FeedEntry>& entry)>& take) const;

    // Of the entry's bytes as they are now.
    std::uint32_t crc_of(const FeedEntry& entry, const OnRead& on_read = {}) const;

    // To send from: a frame stands at its position less that of the segment.
    int frames_fd() const { return frames_.get(); }

    const std::filesystem::path& frames_file() const { return frames_name_; }
    const std::filesystem::path& index_file() const { return index_name_; }
    std::uint64_t index_offset(std::size_t number) const { return header_bytes_ + number * kFeedEntryBytes; }

    // The writer's. A write that failed half done can be done again.
    void write_frames(FeedPosition at, std::string_view frames);
    void write_entries(std::size_t first, std::string_view records);
    void cut(FeedPosition end, std::size_t entries);
    void sync() const;

  private:
    FeedSegment(const std::filesystem::path& directory, FeedPosition position, int flags);

    void read_header(FeedPosition position);
    std::optional<FeedEntry> read_entry(std::string_view record) const;

    std::filesystem::path frames_name_;
    std::filesystem::path index_name_;
    FileDescriptor frames_;
    FileDescriptor index_;
    FeedSegmentHeader header_;
    std::size_t header_bytes_ = 0;
};

}  // namespace pgcascade::log
