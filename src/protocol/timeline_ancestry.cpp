#include "protocol/timeline_ancestry.hpp"

#include <algorithm>
#include <charconv>
#include <cstddef>

#include <fmt/format.h>

#include <pgcascade/error.hpp>

namespace pgcascade::protocol {

namespace {

constexpr std::string_view kBlanks = " \t\r\f\v";

std::string_view without_blanks_before(std::string_view text) {
    return text.substr(std::min(text.find_first_not_of(kBlanks), text.size()));
}

std::string_view take_word(std::string_view& line) {
    const std::string_view word = line.substr(0, line.find_first_of(kBlanks));
    line = without_blanks_before(line.substr(word.size()));
    return word;
}

std::optional<TimelineId> parse_timeline(std::string_view digits) {
    TimelineId timeline;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), timeline.value);
    if (error != std::errc{} || end != digits.data() + digits.size()) return std::nullopt;
    return timeline;
}

// parent timeline <tab> switch point <tab> reason
TimelineAncestry::Ancestor parse_line(std::string_view line) {
    const auto timeline = parse_timeline(take_word(line));
    if (!timeline) throw ProtocolError("a timeline's number was expected");
    const auto switch_point = Lsn::parse(take_word(line));
    if (!switch_point) throw ProtocolError("a switch point was expected, as in 0/3000148");
    return {*timeline, *switch_point, std::string{line}};
}

void check_order(const TimelineAncestry& history, const TimelineAncestry::Ancestor& next) {
    if (next.timeline >= history.timeline)
        throw ProtocolError("a timeline comes from older ones only, whose numbers are smaller");
    if (history.ancestors.empty()) return;
    const TimelineAncestry::Ancestor& last = history.ancestors.back();
    if (next.timeline <= last.timeline) throw ProtocolError("the numbers of the timelines must go up");
    if (next.switch_point < last.switch_point) throw ProtocolError("the switch points must not go back");
}

}  // namespace

std::optional<Lsn> TimelineAncestry::switch_point(TimelineId ancestor) const {
    for (const Ancestor& each : ancestors)
        if (each.timeline == ancestor) return each.switch_point;
    return std::nullopt;
}

TimelineId TimelineAncestry::timeline_at(Lsn lsn) const {
    for (const Ancestor& each : ancestors)
        if (lsn < each.switch_point) return each.timeline;
    return timeline;
}

std::optional<SharedHistory> shared_history(const TimelineAncestry& one, const TimelineAncestry& other) {
    const auto end_of = [](const TimelineAncestry& history, std::size_t number) {
        return number < history.ancestors.size() ? history.ancestors[number].switch_point
                                                 : SharedHistory::kNoEnd;
    };
    const auto timeline_of = [](const TimelineAncestry& history, std::size_t number) {
        return number < history.ancestors.size() ? history.ancestors[number].timeline : history.timeline;
    };
    std::optional<SharedHistory> shared;
    const std::size_t both = std::min(one.ancestors.size(), other.ancestors.size()) + 1;
    for (std::size_t number = 0; number < both; ++number) {
        if (timeline_of(one, number) != timeline_of(other, number)) break;
        shared = {timeline_of(one, number), std::min(end_of(one, number), end_of(other, number))};
        if (end_of(one, number) != end_of(other, number)) break;
    }
    return shared;
}

TimelineAncestry parse_timeline_ancestry(TimelineId timeline, std::string_view content) {
    TimelineAncestry history{timeline, {}};
    for (std::size_t number = 1; !content.empty(); ++number) {
        const std::string_view whole_line = content.substr(0, content.find('\n'));
        content.remove_prefix(std::min(whole_line.size() + 1, content.size()));
        const std::string_view line = without_blanks_before(whole_line);
        if (line.empty() || line.starts_with('#')) continue;
        try {
            const TimelineAncestry::Ancestor ancestor = parse_line(line);
            check_order(history, ancestor);
            history.ancestors.push_back(ancestor);
        } catch (const ProtocolError& problem) {
            throw ProtocolError(
                fmt::format("history of timeline {}, line {}: {}", timeline.value, number, problem.what()));
        }
    }
    return history;
}

}  // namespace pgcascade::protocol
