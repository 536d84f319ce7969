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

    // The one that the byte at this LSN is of.
    TimelineId timeline_at(Lsn lsn) const;
};

// Up to where two histories are the same one: the last timeline that they share, and the first LSN there that
// they don't. Nothing where they share none.
struct SharedHistory {
    static constexpr Lsn kNoEnd{~std::uint64_t{0}};  // the timeline goes on in both

    TimelineId timeline;
    Lsn end;
};
std::optional<SharedHistory> shared_history(const TimelineAncestry& one, const TimelineAncestry& other);

// Throws ProtocolError, with the line.
TimelineAncestry parse_timeline_ancestry(TimelineId timeline, std::string_view content);

}  // namespace pgcascade::protocol
