#include "relay/standby_horizon.hpp"

#include <gtest/gtest.h>

namespace pgcascade::relay {

TEST(StandbyHorizon, TheOldestOfAllIsKept) {
    StandbyHorizon oldest{700, 0};
    oldest.include({800, 750});
    EXPECT_EQ(oldest, (StandbyHorizon{700, 750}));
    oldest.include({600, 760});
    EXPECT_EQ(oldest, (StandbyHorizon{600, 750}));
}

TEST(StandbyHorizon, WhoNeedsNothingChangesNothing) {
    StandbyHorizon oldest;
    oldest.include({});
    EXPECT_EQ(oldest, StandbyHorizon{});
    oldest.include({700, 0});
    oldest.include({});
    EXPECT_EQ(oldest, (StandbyHorizon{700, 0}));
}

// A number that is smaller is the younger one, once the epoch has gone up.
TEST(StandbyHorizon, EpochsCountBeforeNumbers) {
    StandbyHorizon oldest = StandbyHorizon::of({.xmin = 5, .xmin_epoch = 1});
    oldest.include(StandbyHorizon::of({.xmin = 4'000'000'000, .xmin_epoch = 0}));
    const protocol::HotStandbyFeedback feedback = oldest.feedback({});
    EXPECT_EQ(feedback.xmin, 4'000'000'000U);
    EXPECT_EQ(feedback.xmin_epoch, 0U);
}

TEST(StandbyHorizon, FeedbackComesBackAsItWas) {
    const protocol::HotStandbyFeedback feedback =
        StandbyHorizon::of({.xmin = 17, .xmin_epoch = 3, .catalog_xmin = 16, .catalog_xmin_epoch = 3})
            .feedback({});
    EXPECT_EQ(feedback.xmin, 17U);
    EXPECT_EQ(feedback.xmin_epoch, 3U);
    EXPECT_EQ(feedback.catalog_xmin, 16U);
    EXPECT_EQ(feedback.catalog_xmin_epoch, 3U);
}

// Without a number the epoch says nothing, whatever a standby sends along.
TEST(StandbyHorizon, EpochWithoutANumberIsNone) {
    EXPECT_EQ(StandbyHorizon::of({.xmin = 0, .xmin_epoch = 7}), StandbyHorizon{});
}

}  // namespace pgcascade::relay
