#include "cli/progress_bar.hpp"

#include <gtest/gtest.h>

namespace pgcascade::cli {

namespace {

constexpr std::uint64_t kGigabyte = 1024 * 1024 * 1024;

}  // namespace

TEST(ProgressBar, TextTellsShareAmountRateAndTimeLeft) {
    EXPECT_EQ(progress_text({"eu", 1 * kGigabyte, 4 * kGigabyte, 500.0 * 1024 * 1024}),
              "eu: 25 %, 1 GB of 4 GB, 500 MB/s, 7 s left");
}

TEST(ProgressBar, BeforeAnythingHasArrivedThereIsNoRate) {
    EXPECT_EQ(progress_text({"eu", 0, 0, 0}), "eu: waiting for the server");
    EXPECT_EQ(progress_text({"eu", 0, kGigabyte, 0}), "eu: 0 %, 0 B of 1 GB");
}

TEST(ProgressBar, TotalThatWasEstimatedTooLowStopsAtAHundred) {
    EXPECT_EQ(progress_text({"eu", 3 * kGigabyte, 2 * kGigabyte, 1.0 * kGigabyte}),
              "eu: 100 %, 3 GB of 2 GB, 1 GB/s");
}

TEST(ProgressBar, LineHasABarAsLongAsTheShare) {
    EXPECT_EQ(progress_line({"eu", 1 * kGigabyte, 4 * kGigabyte, 500.0 * 1024 * 1024}, 120),
              "eu: [==========>                             ] 25 %, 1 GB of 4 GB, 500 MB/s, 7 s left");
    EXPECT_EQ(progress_line({"eu", 4 * kGigabyte, 4 * kGigabyte, 0}, 120),
              "eu: [========================================] 100 %, 4 GB of 4 GB");
}

TEST(ProgressBar, LineNeverGetsLongerThanTheTerminalIsWide) {
    const Progress progress{"a-node-with-a-long-name", 1 * kGigabyte, 4 * kGigabyte, 500.0 * 1024 * 1024};
    for (std::size_t columns = 1; columns < 150; ++columns) {
        const std::string line = progress_line(progress, columns);
        EXPECT_LE(line.size(), columns);
        EXPECT_EQ(line.find('[') != std::string::npos, columns >= progress_text(progress).size() + 13)
            << columns;
    }
}

}  // namespace pgcascade::cli
