#include "relay/feed_definitions.hpp"

#include <fmt/format.h>

#include <pgcascade/error.hpp>

#include "relay/feed_message.hpp"
#include "relay/frame_reader.hpp"

namespace pgcascade::relay {

using log::FeedEntry;

std::string definitions_before(const log::FeedSegment& segment, log::FeedPosition place) {
    std::string frames = segment.header().preamble;
    for (std::size_t number = 0; number < segment.entries(); ++number) {
        const auto entry = segment.entry(number);
        if (!entry)
            throw LogCorrupt(fmt::format("{}, offset {}: the entry is damaged", segment.index_file().string(),
                                         segment.index_offset(number)));
        if (entry->begin >= place) break;
        if ((entry->flags & FeedEntry::kHasDefinitions) == 0) continue;
        FrameReader reader{segment, entry->begin, entry->end};
        while (const auto frame = reader.next()) {
            const FeedMessage::Kind kind = read_feed_message(frame->payload).kind;
            if (kind == FeedMessage::Kind::kRelation || kind == FeedMessage::Kind::kType)
                frames += frame->bytes;
        }
    }
    return frames;
}

}  // namespace pgcascade::relay
