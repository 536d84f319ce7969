#include "relay/feed_definitions.hpp"

#include <fmt/format.h>

#include <pgcascade/error.hpp>

#include "relay/feed_message.hpp"
#include "relay/frame_reader.hpp"

namespace pgcascade::relay {

using log::FeedEntry;

static void append_definitions(const log::FeedSegment& segment, const FeedEntry& entry, std::string& frames) {
    FrameReader reader{segment, entry.begin, entry.end};
    while (const auto frame = reader.next()) {
        const FeedMessage::Kind kind = read_feed_message(frame->payload).kind;
        if (kind == FeedMessage::Kind::kRelation || kind == FeedMessage::Kind::kType) frames += frame->bytes;
    }
}

std::string definitions_before(const log::FeedSegment& segment, log::FeedPosition place) {
    std::string frames = segment.header().preamble;
    segment.for_each_entry([&](std::size_t number, const std::optional<FeedEntry>& entry) {
        if (!entry)
            throw LogCorrupt(fmt::format("{}, offset {}: the entry is damaged", segment.index_file().string(),
                                         segment.index_offset(number)));
        if (entry->begin >= place) return false;
        if ((entry->flags & FeedEntry::kHasDefinitions) != 0) append_definitions(segment, *entry, frames);
        return true;
    });
    return frames;
}

}  // namespace pgcascade::relay
