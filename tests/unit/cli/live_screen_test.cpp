#include "cli/live_screen.hpp"

#include <gtest/gtest.h>

namespace pgcascade::cli {

TEST(LiveScreen, LineIsCutAtColumnsNotAtBytes) {
    EXPECT_EQ(cut_to_columns("├─ eu", 4), "├─ e");
    EXPECT_EQ(cut_to_columns("├─ eu", 5), "├─ eu");
    EXPECT_EQ(cut_to_columns("├─ eu", 80), "├─ eu");
    EXPECT_EQ(cut_to_columns("eu", 0), "");
}

TEST(LiveScreen, ColoursCountAsNoColumnAndEndWhereTheyAreCut) {
    EXPECT_EQ(cut_to_columns("\033[32mgood\033[0m", 4), "\033[32mgood\033[0m");
    EXPECT_EQ(cut_to_columns("\033[32mgood\033[0m", 2), "\033[32mgo\033[0m");
    EXPECT_EQ(cut_to_columns("ab\033[3", 5), "ab\033[3");
}

}  // namespace pgcascade::cli
