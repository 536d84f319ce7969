#include "cli/table.hpp"

#include <gtest/gtest.h>

namespace pgcascade::cli {

TEST(Table, AlignsByCodePointsAndEndsNoLineInSpaces) {
    Table table({{.name = "name"}, {.name = "size", .right_aligned = true}, {.name = "note"}});
    table.add_row({{"käse"}, {"5"}, {"x"}});
    table.add_row({{"cheddar"}, {"12345"}, {""}});
    EXPECT_EQ(table.to_string(false),
              "name      size  note\n"
              "käse         5  x\n"
              "cheddar  12345\n");
}

TEST(Table, LeavesOutColumnsThatAreEmptyThroughout) {
    Table table({{.name = "a"}, {.name = "nothing"}, {.name = "b"}});
    table.add_row({{"1"}, {""}, {"2"}});
    EXPECT_EQ(table.to_string(false), "a  b\n1  2\n");
}

TEST(Table, ColourDoesNotShiftTheColumns) {
    Table table({{.name = "a"}, {.name = "b"}});
    table.add_row({{"bad", Colour::kBad}, {"1"}});
    table.add_row({{"ok"}, {"2"}});
    EXPECT_EQ(table.to_string(true),
              "\033[2ma\033[0m    \033[2mb\033[0m\n"
              "\033[1;31mbad\033[0m  1\n"
              "ok   2\n");
}

TEST(Table, RefusesARowOfAnotherLength) {
    Table table({{.name = "a"}});
    EXPECT_THROW(table.add_row({{"1"}, {"2"}}), std::logic_error);
}

}  // namespace pgcascade::cli
