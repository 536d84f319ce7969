#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <pgcascade/lsn.hpp>

// A timeline's history file: which timelines it comes from, and where each of them ended. Source: PostgreSQL,
// access/transam/timeline.c.

namespace pgcascade::protocol {

struct TimelineAncestry {
    struct Ancestor {
        TimelineId timeline;
        Lsn switch_point;    // the first byte that is no longer of it
        std::string reason;  // for people

        bool operator==(const Ancestor&) const = default;
    };

    TimelineId timeline;
    std::vector<Ancestor> ancestors;  // the oldest first

    // Where an ancestor ended; nothing where it is none.
    std::optional<Lsn> switch_point(TimelineId ancestor) const;
    bool has_ancestor(TimelineId ancestor) const { return switch_point(ancestor).has_value(); }
};

// Throws ProtocolError, with the line.
TimelineAncestry parse_timeline_ancestry(TimelineId timeline, std::string_view content);

}  // namespace pgcascade::protocol
