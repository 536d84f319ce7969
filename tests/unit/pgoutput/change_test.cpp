#include <cmath>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <pgcascade/change.hpp>
#include <pgcascade/error.hpp>

namespace pgcascade {

static Value text(std::string_view bytes) {
    return Value(Value::State::kText, bytes);
}

TEST(Value, ReadsWhatFits) {
    EXPECT_EQ(text("-32768").as<std::int16_t>(), -32768);
    EXPECT_EQ(text("9223372036854775807").as<std::int64_t>(), std::numeric_limits<std::int64_t>::max());
    EXPECT_EQ(text("4294967295").as<std::uint32_t>(), 4294967295u);
    EXPECT_TRUE(text("t").as<bool>());
    EXPECT_FALSE(text("f").as<bool>());
    EXPECT_EQ(text("1.5e-3").as<double>(), 0.0015);
    EXPECT_EQ(text("-0.5").as<float>(), -0.5f);
    EXPECT_EQ(text("abc").as<std::string>(), "abc");
    EXPECT_EQ(text("").as<std::string_view>(), "");
}

TEST(Value, ReadsPostgresSpecialFloats) {
    EXPECT_TRUE(std::isnan(text("NaN").as<double>()));
    EXPECT_EQ(text("Infinity").as<double>(), std::numeric_limits<double>::infinity());
    EXPECT_EQ(text("-Infinity").as<double>(), -std::numeric_limits<double>::infinity());
}

TEST(Value, RefusesWhatDoesNotFit) {
    EXPECT_THROW(text("32768").as<std::int16_t>(), Error);
    EXPECT_THROW(text("-1").as<std::uint32_t>(), Error);
    EXPECT_THROW(text("1e39").as<float>(), Error);
    EXPECT_THROW(text("1e309").as<double>(), Error);
    EXPECT_THROW(text("1.0").as<int>(), Error);
    EXPECT_THROW(text("").as<int>(), Error);
    EXPECT_THROW(text(" 1").as<int>(), Error);
    EXPECT_THROW(text("true").as<bool>(), Error);
    EXPECT_THROW(text("1e400").as<double>(), Error);
    EXPECT_THROW(text("1x").as<double>(), Error);
}

TEST(Value, NullIsTakenByOptionalsOnly) {
    const Value null;
    EXPECT_TRUE(null.is_null());
    EXPECT_EQ(null.as<std::optional<int>>(), std::nullopt);
    EXPECT_EQ(text("7").as<std::optional<int>>(), 7);
    EXPECT_THROW(null.as<int>(), Error);
    EXPECT_THROW(null.as<std::string>(), Error);
}

TEST(Value, UnchangedAndBinaryHaveNoText) {
    const Value unchanged(Value::State::kUnchanged, {});
    EXPECT_FALSE(unchanged.is_null());
    EXPECT_THROW(unchanged.text(), Error);
    EXPECT_THROW(unchanged.as<std::optional<std::string>>(), Error);
    EXPECT_THROW(Value(Value::State::kBinary, "ab").text(), Error);
    EXPECT_EQ(Value(Value::State::kBinary, "ab").bytes(), "ab");
}

TEST(Value, LongValuesAreCutInErrors) {
    try {
        text(std::string(10'000, '9')).as<int>();
        FAIL();
    } catch (const Error& problem) {
        EXPECT_LT(std::string_view(problem.what()).size(), 200u);
    }
}

TEST(Row, FindsColumnsByNameAndPlace) {
    Relation relation;
    relation.schema = "public";
    relation.table = "t";
    relation.columns.resize(2);
    relation.columns[0].name = "id";
    relation.columns[1].name = "V";
    const std::array values{text("1"), text("x")};
    const Row row(relation, values);
    EXPECT_EQ(row["V"].text(), "x");
    EXPECT_EQ(row[0].text(), "1");
    EXPECT_EQ(relation.find("v"), std::nullopt);
    EXPECT_THROW(row["v"], Error);
    EXPECT_THROW(row[2], Error);
}

TEST(Row, AskingAnEmptyRowIsAnErrorNotACrash) {
    const Row row;
    EXPECT_TRUE(row.empty());
    EXPECT_THROW(row["id"], Error);
    EXPECT_THROW(row[0], Error);
}

TEST(Operation, NamesAreThoseOfTheDocumentation) {
    EXPECT_EQ(to_string(Operation::kBegin), "begin");
    EXPECT_EQ(to_string(Operation::kTruncate), "truncate");
    EXPECT_EQ(to_string(Operation::kMessage), "message");
}

}  // namespace pgcascade
