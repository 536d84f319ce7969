#include "tree/passfile.hpp"

#include <set>

#include <gtest/gtest.h>

namespace pgcascade::tree {
namespace {

const PassfileKey kKey{"127.0.0.1", "5432", "replication", "replicator"};

TEST(PassfileTest, FirstLineThatFitsCounts) {
    EXPECT_EQ(find_password("127.0.0.1:5432:replication:replicator:one\n*:*:*:*:two\n", kKey), "one");
    EXPECT_EQ(find_password("*:*:*:*:two\n127.0.0.1:5432:replication:replicator:one\n", kKey), "two");
    EXPECT_EQ(find_password("*:5433:*:*:other port\n*:*:shop:*:other database\n*:*:*:postgres:other user\n"
                            "10.0.0.1:*:*:*:other host\n",
                            kKey),
              std::nullopt);
    EXPECT_EQ(find_password("", kKey), std::nullopt);
}

TEST(PassfileTest, CommentsAndEmptyLinesArePassedOver) {
    EXPECT_EQ(find_password("# *:*:*:*:no\n\n*:*:*:*:yes", kKey), "yes");
}

TEST(PassfileTest, EscapedColonsAndBackslashesAreText) {
    EXPECT_EQ(find_password(R"(*:*:*:replicator:a\:b\\c)", kKey), "a:b\\c");
    EXPECT_EQ(find_password(R"(*:*:*:r\:x:secret)", {"h", "1", "d", "r:x"}), "secret");
    EXPECT_EQ(find_password(R"(\*:*:*:*:secret)", kKey), std::nullopt);
}

TEST(PassfileTest, LineThatIsCutOffGivesNothingForOthers) {
    EXPECT_EQ(find_password("127.0.0.1:5432\n", kKey), std::nullopt);
    EXPECT_EQ(find_password("*:*:*:*:dos\r\n", kKey), "dos");
}

TEST(PassfileTest, WrittenLineIsReadBack) {
    const std::string password = R"(a:b\c*'" )";
    const std::string line = passfile_line("we:ird\\user", password);
    EXPECT_EQ(find_password(line, {"any", "1", "d", "we:ird\\user"}), password);
}

TEST(PassfileTest, GeneratedPasswordsDifferAndNeedNoQuoting) {
    std::set<std::string> seen;
    for (int round = 0; round < 100; ++round) {
        const std::string password = generate_password();
        EXPECT_EQ(password.size(), 32U);
        EXPECT_EQ(password.find_first_of(" :\\'\""), std::string::npos);
        EXPECT_TRUE(seen.insert(password).second);
    }
}

}  // namespace
}  // namespace pgcascade::tree
