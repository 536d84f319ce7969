#include "protocol/timeline_ancestry.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <pgcascade/error.hpp>

namespace pgcascade::protocol {

namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// As a server of PostgreSQL 15 writes it at its second promotion.
constexpr std::string_view kThird =
    "1\t0/3000148\tno recovery target specified\n"
    "\n"
    "2\t0/5A3B1C0\tbefore 2026-01-01 00:00:00+00\n";

std::string refusal(TimelineId timeline, std::string_view content) {
    try {
        parse_timeline_ancestry(timeline, content);
    } catch (const ProtocolError& problem) {
        return problem.what();
    }
    return "";
}

}  // namespace

TEST(TimelineAncestry, AncestorsComeWithWhereTheyEnded) {
    const TimelineAncestry history = parse_timeline_ancestry({3}, kThird);
    EXPECT_EQ(history.timeline, TimelineId{3});
    EXPECT_THAT(history.ancestors,
                ElementsAre(TimelineAncestry::Ancestor{{1}, {0x3000148}, "no recovery target specified"},
                            TimelineAncestry::Ancestor{{2}, {0x5A3B1C0}, "before 2026-01-01 00:00:00+00"}));
    EXPECT_EQ(history.switch_point({1}), Lsn{0x3000148});
    EXPECT_EQ(history.switch_point({2}), Lsn{0x5A3B1C0});
    EXPECT_TRUE(history.has_ancestor({1}));
}

TEST(TimelineAncestry, OthersAreNoAncestors) {
    const TimelineAncestry history = parse_timeline_ancestry({5}, kThird);
    for (const std::uint32_t timeline : {0U, 3U, 4U, 5U, 6U}) {
        EXPECT_FALSE(history.has_ancestor({timeline})) << timeline;
        EXPECT_FALSE(history.switch_point({timeline})) << timeline;
    }
}

TEST(TimelineAncestry, EachByteIsOfOneTimeline) {
    const TimelineAncestry history = parse_timeline_ancestry({3}, kThird);
    EXPECT_EQ(history.timeline_at({0x3000147}), TimelineId{1});
    EXPECT_EQ(history.timeline_at({0x3000148}), TimelineId{2});
    EXPECT_EQ(history.timeline_at({0x5A3B1BF}), TimelineId{2});
    EXPECT_EQ(history.timeline_at({0x5A3B1C0}), TimelineId{3});
}

TEST(TimelineAncestry, TwoHistoriesAreOneUpToWhereEitherLeavesTheOther) {
    const TimelineAncestry first{{1}, {}};
    const TimelineAncestry second{{2}, {{{1}, {0x200}, ""}}};
    const TimelineAncestry earlier{{2}, {{{1}, {0x100}, ""}}};
    const TimelineAncestry third{{3}, {{{1}, {0x200}, ""}, {{2}, {0x300}, ""}}};
    const TimelineAncestry beside{{3}, {{{1}, {0x150}, ""}}};
    const TimelineAncestry restored{{5}, {{{4}, {0x100}, ""}}};
    const auto expect_shared = [](const TimelineAncestry& one, const TimelineAncestry& other,
                                  TimelineId timeline, Lsn end) {
        for (const auto& shared : {shared_history(one, other), shared_history(other, one)}) {
            ASSERT_TRUE(shared);
            EXPECT_EQ(shared->timeline, timeline);
            EXPECT_EQ(shared->end, end);
        }
    };
    expect_shared(first, first, {1}, SharedHistory::kNoEnd);
    expect_shared(second, second, {2}, SharedHistory::kNoEnd);
    expect_shared(first, second, {1}, {0x200});
    expect_shared(second, earlier, {1}, {0x100});
    expect_shared(second, third, {2}, {0x300});
    expect_shared(first, third, {1}, {0x200});
    expect_shared(second, beside, {1}, {0x150});
    EXPECT_FALSE(shared_history(second, restored));
}

TEST(TimelineAncestry, CommentsAndEmptyLinesSayNothing) {
    EXPECT_EQ(
        parse_timeline_ancestry({3}, "# from an archive\n  # of old\n\n \t\n1 0/10 \n").ancestors.size(), 1U);
    EXPECT_TRUE(parse_timeline_ancestry({2}, "").ancestors.empty());
    EXPECT_TRUE(parse_timeline_ancestry({2}, "\n").ancestors.empty());
}

// The server takes any white space, and does not need a reason nor the last line's end.
TEST(TimelineAncestry, FieldsAreSeparatedByAnyWhiteSpace) {
    for (const char* line : {"1\t0/3000148", "1 0/3000148\n", "\t1\t \t0/3000148\r\n", "1\t0/3000148\t\n"})
        EXPECT_EQ(parse_timeline_ancestry({2}, line).switch_point({1}), Lsn{0x3000148}) << line;
}

TEST(TimelineAncestry, LineThatIsNoneIsRefusedWithItsNumber) {
    EXPECT_THAT(refusal({3}, "1\t0/10\t\nx\t0/20\n"),
                HasSubstr("history of timeline 3, line 2: a timeline's"));
    for (const char* line : {"x", "-1\t0/10", "1x\t0/10", "4294967296\t0/10", "0/10"})
        EXPECT_THAT(refusal({3}, line), HasSubstr("line 1: a timeline's number was expected")) << line;
    for (const char* line :
         {"1", "1\t", "1\t10", "1\t0/", "1\t/10", "1\t0/10x", "1\t0/123456789", "1\treason\t0/10"})
        EXPECT_THAT(refusal({3}, line), HasSubstr("line 1: a switch point was expected")) << line;
}

TEST(TimelineAncestry, OrderThatNoServerWritesIsRefused) {
    EXPECT_THAT(refusal({3}, "2\t0/10\n1\t0/20\n"), HasSubstr("line 2: the numbers"));
    EXPECT_THAT(refusal({3}, "1\t0/10\n1\t0/20\n"), HasSubstr("line 2: the numbers"));
    EXPECT_THAT(refusal({3}, "1\t0/20\n2\t0/10\n"), HasSubstr("line 2: the switch points"));
    EXPECT_THAT(refusal({3}, "3\t0/10\n"), HasSubstr("line 1: a timeline comes from older ones"));
    EXPECT_THAT(refusal({2}, kThird), HasSubstr("line 3: a timeline comes from older ones"));
}

TEST(TimelineAncestry, AnyCutOfAFileIsReadOrRefused) {
    for (std::size_t size = 0; size < kThird.size(); ++size) {
        const std::string why = refusal({3}, kThird.substr(0, size));
        EXPECT_TRUE(why.empty() || why.starts_with("history of timeline 3, line ")) << size << why;
    }
}

}  // namespace pgcascade::protocol
