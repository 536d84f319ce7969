#include <gtest/gtest.h>

#include <pgcascade/lsn.hpp>

namespace pgcascade {

TEST(Lsn, PrintsAndReadsPostgresForm) {
    EXPECT_EQ(Lsn{0x16B374D848}.to_string(), "16/B374D848");
    EXPECT_EQ(Lsn::parse("16/B374D848"), Lsn{0x16B374D848});
    EXPECT_EQ(Lsn::parse("0/0"), Lsn{});
    EXPECT_EQ(Lsn::parse("ffffffff/FFFFFFFF"), Lsn{~0ULL});
}

TEST(Lsn, RefusesWhatIsNotExactlyOneLsn) {
    for (const char* text :
         {"", "/", "1", "1/", "/1", "1/2/3", "1/123456789", "x/1", "1/ 2", "-1/2", "0x1/2"})
        EXPECT_EQ(Lsn::parse(text), std::nullopt) << text;
}

TEST(Lsn, DistanceIsSigned) {
    EXPECT_EQ(distance(Lsn{10}, Lsn{25}), 15);
    EXPECT_EQ(distance(Lsn{25}, Lsn{10}), -15);
}

}  // namespace pgcascade
