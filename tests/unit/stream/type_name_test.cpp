#include "stream/type_name.hpp"

#include <gtest/gtest.h>

#include "stream/builtin_types.hpp"
#include "unit/stream/sample_changes.hpp"

namespace pgcascade {

namespace {

std::string builtin(std::uint32_t oid, std::int32_t modifier = -1) {
    return sql_type_name(sample::column("c", oid, false, modifier));
}

Column announced(std::string schema, std::string name) {
    Column column = sample::column("c", 16500);
    column.type_schema = std::move(schema);
    column.type_name = std::move(name);
    return column;
}

}  // namespace

// Each as SELECT format_type(oid, modifier) answers on PostgreSQL 15.
TEST(TypeName, BuiltInTypesAreNamedWithTheirModifier) {
    EXPECT_EQ(builtin(type_oid::kInt4), "integer");
    EXPECT_EQ(builtin(type_oid::kInt8), "bigint");
    EXPECT_EQ(builtin(type_oid::kVarchar), "character varying");
    EXPECT_EQ(builtin(type_oid::kVarchar, 34), "character varying(30)");
    EXPECT_EQ(builtin(type_oid::kBpchar), "bpchar");
    EXPECT_EQ(builtin(type_oid::kBpchar, 5), "character(1)");
    EXPECT_EQ(builtin(type_oid::kChar), "\"char\"");
    EXPECT_EQ(builtin(type_oid::kBit), "\"bit\"");
    EXPECT_EQ(builtin(type_oid::kBit, 5), "bit(5)");
    EXPECT_EQ(builtin(type_oid::kVarbit, 8), "bit varying(8)");
    EXPECT_EQ(builtin(type_oid::kNumeric), "numeric");
    EXPECT_EQ(builtin(type_oid::kNumeric, (10 << 16 | 2) + 4), "numeric(10,2)");
    EXPECT_EQ(builtin(type_oid::kNumeric, (3 << 16 | (-5 & 0x7FF)) + 4), "numeric(3,-5)");
    EXPECT_EQ(builtin(type_oid::kTimestamptz), "timestamp with time zone");
    EXPECT_EQ(builtin(type_oid::kTimestamptz, 3), "timestamp(3) with time zone");
    EXPECT_EQ(builtin(type_oid::kTimestamp, 0), "timestamp(0) without time zone");
    EXPECT_EQ(builtin(type_oid::kTime, 6), "time(6) without time zone");
    EXPECT_EQ(builtin(type_oid::kTimetz), "time with time zone");
    EXPECT_EQ(builtin(type_oid::kInterval), "interval");
    EXPECT_EQ(builtin(type_oid::kInterval, 0x7FFF << 16 | 3), "interval(3)");
    EXPECT_EQ(builtin(type_oid::kInterval, 1 << 2 << 16 | 0xFFFF), "interval year");
    EXPECT_EQ(builtin(type_oid::kInterval, (1 << 3 | 1 << 10 | 1 << 11 | 1 << 12) << 16 | 2),
              "interval day to second(2)");
}

TEST(TypeName, ArraysAreNamedAfterTheirElements) {
    EXPECT_EQ(builtin(1007), "integer[]");
    EXPECT_EQ(builtin(1015, 34), "character varying(30)[]");
    EXPECT_EQ(builtin(1002), "\"char\"[]");
    EXPECT_EQ(builtin(22), "int2vector");
}

TEST(TypeName, AnnouncedTypesAreQualified) {
    EXPECT_EQ(sql_type_name(announced("public", "mood")), "public.mood");
    EXPECT_EQ(sql_type_name(announced("public", "_mood")), "public.mood[]");
    EXPECT_EQ(sql_type_name(announced("public", "MyMood")), "public.\"MyMood\"");
    EXPECT_EQ(sql_type_name(announced("sales", "mood")), "sales.mood");
    EXPECT_EQ(sql_type_name(announced("sales", "My \"Mood\"")), "sales.\"My \"\"Mood\"\"\"");
    EXPECT_EQ(sql_type_name(announced("Sales", "_mood")), "\"Sales\".mood[]");
}

TEST(TypeName, DomainsAppearAsTheirBaseType) {
    EXPECT_EQ(sql_type_name(announced("pg_catalog", "int4")), "integer");
    EXPECT_EQ(sql_type_name(announced("pg_catalog", "_text")), "text[]");
    EXPECT_EQ(value_type_oid(announced("pg_catalog", "int4")), type_oid::kInt4);
    EXPECT_EQ(value_type_oid(announced("public", "int4")), 16500u);
}

TEST(TypeName, EveryArrayHasAnElementThatIsThere) {
    int arrays = 0;
    for (std::uint32_t oid = 0; oid < 10'000; ++oid) {
        const BuiltinType* type = find_builtin_type(oid);
        if (type == nullptr) continue;
        EXPECT_EQ(find_builtin_type(type->name), type);
        EXPECT_EQ(type->sql_name.empty(), type->element_oid != 0) << type->name;
        if (type->element_oid == 0) continue;
        ++arrays;
        const BuiltinType* element = find_builtin_type(type->element_oid);
        ASSERT_NE(element, nullptr) << type->name;
        EXPECT_FALSE(builtin(oid).empty());
    }
    EXPECT_GT(arrays, 70);
}

}  // namespace pgcascade
