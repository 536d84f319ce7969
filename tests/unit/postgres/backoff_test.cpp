#include "postgres/backoff.hpp"

#include <gtest/gtest.h>

namespace pgcascade::postgres {
namespace {

using std::chrono::milliseconds;

TEST(Backoff, DoublesUpToTheLongest) {
    Backoff backoff{milliseconds{1'000}, 1};
    for (const int step : {100, 200, 400, 800, 1'000, 1'000, 1'000}) {
        const milliseconds wait = backoff.next();
        EXPECT_LE(wait, milliseconds{step});
        EXPECT_GE(wait, milliseconds{step - step / 4});
    }
}

TEST(Backoff, StartsAnewAfterASuccess) {
    Backoff backoff{milliseconds{10'000}, 1};
    for (int i = 0; i < 5; ++i) backoff.next();
    backoff.reset();
    EXPECT_LE(backoff.next(), milliseconds{100});
}

TEST(Backoff, NeverWaitsLongerThanAsked) {
    Backoff backoff{milliseconds{30}, 1};
    for (int i = 0; i < 10; ++i) EXPECT_LE(backoff.next(), milliseconds{30});
}

TEST(Backoff, IsSpread) {
    Backoff one{milliseconds{10'000}, 1};
    Backoff other{milliseconds{10'000}, 2};
    int different = 0;
    for (int i = 0; i < 20; ++i) different += one.next() != other.next() ? 1 : 0;
    EXPECT_GT(different, 10);
}

}  // namespace
}  // namespace pgcascade::postgres
