#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "log/feed_segment.hpp"

namespace pgcascade::relay {

// Reads the frames of a segment one after the other, through a buffer.
class FrameReader {
  public:
    FrameReader(const log::FeedSegment& segment, log::FeedPosition from, log::FeedPosition to)
        : segment_(segment), next_(from), to_(to) {}

    struct Frame {
        std::string_view bytes;    // of the whole CopyData message; valid until the next call
        std::string_view payload;  // of XLogData; empty for a keepalive
    };

    // Nothing at the end, and where the segment ends before it. Throws LogCorrupt where no frame stands here,
    // SystemError.
    std::optional<Frame> next();

    // The length of the next one, which is passed over; 0 at the end, or where its length can't be read.
    std::uint64_t next_bytes();

  private:
    bool fill(std::size_t bytes);
    std::size_t read_length() const;

    const log::FeedSegment& segment_;
    log::FeedPosition next_;  // of what is not in the buffer yet
    const log::FeedPosition to_;
    std::string buffer_;
    std::size_t used_ = 0;
};

}  // namespace pgcascade::relay
