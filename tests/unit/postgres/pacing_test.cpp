#include "postgres/pacing.hpp"

#include <gtest/gtest.h>

namespace pgcascade::postgres {
namespace {

const SteadyTime kStart = SteadyTime{} + std::chrono::hours{1};

TEST(Pacing, HoldsUpNothingAtFirst) {
    EXPECT_LE(Pacing{}.pause(kStart).count(), 0);
}

TEST(Pacing, HoldsUpNothingWhereReadsAreRare) {
    Pacing pacing;
    SteadyTime time = kStart;
    for (int i = 0; i < 10 * Pacing::kBurst; ++i) {
        EXPECT_LE(pacing.pause(time).count(), 0);
        pacing.has_read(time);
        time += Pacing::kInterval;
    }
}

TEST(Pacing, LetsABurstThroughThenOneReadAnInterval) {
    Pacing pacing;
    for (int i = 0; i < Pacing::kBurst; ++i) {
        EXPECT_LE(pacing.pause(kStart).count(), 0) << i;
        pacing.has_read(kStart);
    }
    SteadyTime time = kStart;
    for (int i = 0; i < 10; ++i) {
        pacing.has_read(time);
        EXPECT_EQ(pacing.pause(time), Pacing::kInterval);
        time += Pacing::kInterval;
    }
}

TEST(Pacing, MakesNoDebtWhereMuchIsReadWithoutPausing) {
    Pacing pacing;
    for (int i = 0; i < 1'000'000; ++i) pacing.has_read(kStart);
    EXPECT_EQ(pacing.pause(kStart), Pacing::kInterval);
    EXPECT_LE(pacing.pause(kStart + Pacing::kInterval).count(), 0);
}

TEST(Pacing, GivesTheBurstBackInQuietTimes) {
    Pacing pacing;
    for (int i = 0; i <= Pacing::kBurst; ++i) pacing.has_read(kStart);
    const SteadyTime later = kStart + 2 * Pacing::kBurst * Pacing::kInterval;
    for (int i = 0; i < Pacing::kBurst; ++i) {
        EXPECT_LE(pacing.pause(later).count(), 0) << i;
        pacing.has_read(later);
    }
}

}  // namespace
}  // namespace pgcascade::postgres
