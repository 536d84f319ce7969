#include "tree/setting_value.hpp"

#include <gtest/gtest.h>

namespace pgcascade::tree {
namespace {

Setting setting(const std::string& type, const std::string& unit = {}) {
    Setting made;
    made.type = type;
    made.unit = unit;
    return made;
}

TEST(SettingValueTest, MemoryIsTheSameInAnyUnit) {
    const Setting blocks = setting("integer", "8kB");
    EXPECT_TRUE(same_value("128MB", "16384", blocks));
    EXPECT_TRUE(same_value("131072kB", "16384", blocks));
    EXPECT_TRUE(same_value("0.125GB", "16384", blocks));
    EXPECT_TRUE(same_value(" 1 GB", "131072", blocks));
    EXPECT_FALSE(same_value("128MB", "16385", blocks));
    EXPECT_FALSE(same_value("128mb", "16384", blocks));  // no unit of PostgreSQL's
    EXPECT_TRUE(same_value("1GB", "1024", setting("integer", "MB")));
    EXPECT_TRUE(same_value("2kB", "2048", setting("integer", "B")));
}

TEST(SettingValueTest, TimeIsTheSameInAnyUnit) {
    EXPECT_TRUE(same_value("60s", "1min", setting("integer", "s")));
    EXPECT_TRUE(same_value("1d", "1440", setting("integer", "min")));
    EXPECT_TRUE(same_value("500us", "0.5", setting("real", "ms")));
    EXPECT_FALSE(same_value("60kB", "60", setting("integer", "s")));
}

TEST(SettingValueTest, NumbersWithoutAUnit) {
    const Setting count = setting("integer");
    EXPECT_TRUE(same_value("100", " 100 ", count));
    EXPECT_TRUE(same_value("0x10", "16", count));
    EXPECT_TRUE(same_value("-1", "-1", count));
    EXPECT_FALSE(same_value("10", "100", count));
    EXPECT_FALSE(same_value("10MB", "10", count));
    EXPECT_FALSE(same_value("", "0", count));
    EXPECT_TRUE(same_value("1e-1", "0.1", setting("real")));
    EXPECT_FALSE(same_value("99999999999999999999", "1", count));
}

TEST(SettingValueTest, BooleansByAllTheirNames) {
    const Setting flag = setting("bool");
    for (const char* yes : {"on", "true", "TRUE", "t", "yes", "y", "1", "tru"})
        EXPECT_TRUE(same_value(yes, "on", flag)) << yes;
    for (const char* no : {"off", "false", "f", "no", "n", "0", "of"})
        EXPECT_TRUE(same_value(no, "off", flag)) << no;
    EXPECT_FALSE(same_value("o", "on", flag));
    EXPECT_FALSE(same_value("on", "off", flag));
}

TEST(SettingValueTest, EnumerationsIgnoreCase) {
    EXPECT_TRUE(same_value("LOGICAL", "logical", setting("enum")));
    EXPECT_FALSE(same_value("replica", "logical", setting("enum")));
    EXPECT_TRUE(same_value("true", "on", setting("enum")));  // synchronous_commit
}

TEST(SettingValueTest, ListsIgnoreBlanksAndQuotes) {
    const Setting text = setting("string");
    EXPECT_TRUE(same_value("a,b", "a, b", text));
    EXPECT_TRUE(same_value("\"a b\", c", "a b,c", text));
    EXPECT_FALSE(same_value("a,b", "b,a", text));
    EXPECT_FALSE(same_value("Europe/Berlin", "europe/berlin", text));
    EXPECT_TRUE(same_value("", "", text));
    EXPECT_FALSE(same_value("", "a", text));
}

TEST(SettingValueTest, AlterSystemGetsAListWordByWord) {
    EXPECT_EQ(alter_system_value("shared_preload_libraries", "a, \"b c\""), "'a', 'b c'");
    EXPECT_EQ(alter_system_value("listen_addresses", "a, b"), "'a, b'");
    EXPECT_EQ(alter_system_value("cluster_name", "it's"), "'it''s'");
    EXPECT_EQ(alter_system_value("search_path", ""), "''");
}

}  // namespace
}  // namespace pgcascade::tree
