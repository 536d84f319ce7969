#include "stream/stream_options.hpp"

#include <gtest/gtest.h>

namespace pgcascade {
namespace {

using std::chrono::milliseconds;

StreamOptions sensible() {
    return {.conninfo = "host=nowhere", .slot = "s", .publications = {"p"}};
}

TEST(CheckOptions, TakesWhatMakesSense) {
    EXPECT_NO_THROW(check_options(sensible()));
}

TEST(CheckOptions, RefusesIntervalsThatTimesCannotHold) {
    for (const milliseconds interval : {milliseconds{0}, milliseconds{-1}, milliseconds::max()}) {
        StreamOptions options = sensible();
        options.status_interval = interval;
        EXPECT_THROW(check_options(options), ConfigError);
        options = sensible();
        options.max_backoff = interval;
        EXPECT_THROW(check_options(options), ConfigError);
    }
}

TEST(CheckOptions, RefusesWhatContradictsItself) {
    StreamOptions options = sensible();
    options.from = Lsn{2};
    options.until = Lsn{1};
    EXPECT_THROW(check_options(options), ConfigError);
    options.until = {};
    options.temporary_slot = true;
    EXPECT_THROW(check_options(options), ConfigError);
}

}  // namespace
}  // namespace pgcascade
