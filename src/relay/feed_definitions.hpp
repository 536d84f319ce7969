#pragma once

#include <string>

#include "log/feed_segment.hpp"

namespace pgcascade::relay {

// The frames that announce the relations and types which are in force at `place`, a boundary of entries in
// this segment: those that it begins with, and those that came in it before. Throws LogCorrupt, SystemError.
std::string definitions_before(const log::FeedSegment& segment, log::FeedPosition place);

}  // namespace pgcascade::relay
