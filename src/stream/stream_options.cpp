#include "stream/stream_options.hpp"

#include <fmt/format.h>

#include <pgcascade/error.hpp>

namespace pgcascade {

static constexpr std::chrono::hours kLongestInterval{24};

// A limit keeps the sums of times and intervals from running over.
static void check_interval(const char* name, std::chrono::milliseconds interval) {
    if (interval.count() > 0 && interval <= kLongestInterval) return;
    throw ConfigError(fmt::format("the {} must be more than nothing and at most a day", name));
}

void check_options(const StreamOptions& options) {
    if (options.slot.empty()) throw ConfigError("no replication slot is named");
    if (options.publications.empty()) throw ConfigError("no publication is named");
    check_interval("status interval", options.status_interval);
    check_interval("longest backoff", options.max_backoff);
    if (options.temporary_slot && options.from)
        throw ConfigError("a temporary slot is new and begins at the present: it can't start from " +
                          options.from.to_string());
    if (options.from && options.until && options.until < options.from)
        throw ConfigError(fmt::format("the stream would end, at {}, before it begins, at {}",
                                      options.until.to_string(), options.from.to_string()));
}

}  // namespace pgcascade
