#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidjson/document.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

#include <pgcascade/format.hpp>

#include "base/clock.hpp"
#include "stream/builtin_types.hpp"
#include "unit/stream/sample_changes.hpp"

namespace pgcascade {

namespace {

std::unique_ptr<Formatter> make_debezium() {
    return make_formatter({.format = Format::kDebezium,
                           .debezium = {.server_name = "shop", .database = "orders", .version = "0.1"}});
}

std::vector<rapidjson::Document> events_of(const Change& change, Formatter& formatter) {
    std::string out;
    formatter.write(change, out);
    std::vector<rapidjson::Document> events;
    for (std::size_t start = 0; start < out.size();) {
        const auto end = out.find('\n', start);
        events.emplace_back().Parse(out.data() + start, end - start);
        EXPECT_FALSE(events.back().HasParseError()) << out;
        start = end + 1;
    }
    return events;
}

std::vector<rapidjson::Document> events_of(const Change& change) {
    return events_of(change, *make_debezium());
}

std::string text_of(const rapidjson::Value& value) {
    rapidjson::StringBuffer buffer;
    rapidjson::Writer<rapidjson::StringBuffer> writer{buffer};
    value.Accept(writer);
    return buffer.GetString();
}

std::string value_of(const Column& column, const Value& value) {
    const Relation table = sample::relation({column});
    const std::vector<Value> row{value};
    const auto events = events_of(sample::update(table, row));
    return text_of(events.at(0)["after"][column.name.c_str()]);
}

std::string value_of(std::uint32_t type_oid, std::string_view text, std::int32_t modifier = -1) {
    return value_of(sample::column("v", type_oid, false, modifier), sample::value(text));
}

const std::vector<Value> kSeven{sample::value("7"), sample::value("seven")};
const std::vector<Value> kEight{sample::value("8"), sample::null()};

class DebeziumFormat : public testing::Test {
  protected:
    Relation table_ =
        sample::relation({sample::column("id", type_oid::kInt4, true), sample::column("v", type_oid::kText)});
};

}  // namespace

TEST_F(DebeziumFormat, InsertIsTheWholeEnvelope) {
    const Timestamp before = now();
    const auto events = events_of(sample::insert(table_, kSeven));
    const Timestamp after = now();
    ASSERT_EQ(events.size(), 1u);
    const rapidjson::Document& event = events[0];
    EXPECT_EQ(text_of(event["before"]), "null");
    EXPECT_EQ(text_of(event["after"]), R"({"id":7,"v":"seven"})");
    EXPECT_EQ(
        text_of(event["source"]),
        R"({"version":"0.1","connector":"postgresql","name":"shop","ts_ms":1714566896123,"snapshot":"false",)"
        R"("db":"orders","sequence":"[null,\"6699\"]","ts_us":1714566896123456,"ts_ns":1714566896123456000,)"
        R"("schema":"public","table":"t","txId":745,"lsn":6699,"xmin":null})");
    EXPECT_EQ(text_of(event["transaction"]), "null");
    EXPECT_EQ(text_of(event["op"]), R"("c")");
    const std::int64_t micros = event["ts_us"].GetInt64();
    EXPECT_GE(micros, before.time_since_epoch().count());
    EXPECT_LE(micros, after.time_since_epoch().count());
    EXPECT_EQ(event["ts_ms"].GetInt64(), micros / 1000);
    EXPECT_EQ(event["ts_ns"].GetInt64(), micros * 1000);
    EXPECT_EQ(event.MemberCount(), 8u);
}

TEST_F(DebeziumFormat, SequenceHasTheLastCommit) {
    const auto formatter = make_debezium();
    EXPECT_TRUE(events_of(sample::change(Operation::kBegin), *formatter).empty());
    EXPECT_TRUE(events_of(sample::change(Operation::kCommit), *formatter).empty());
    const auto events = events_of(sample::insert(table_, kSeven), *formatter);
    EXPECT_STREQ(events.at(0)["source"]["sequence"].GetString(), R"(["8240","6699"])");
}

TEST_F(DebeziumFormat, UpdateHasNoBeforeWhereTheServerSendsNone) {
    const auto events = events_of(sample::update(table_, kSeven));
    ASSERT_EQ(events.size(), 1u);
    EXPECT_EQ(text_of(events[0]["before"]), "null");
    EXPECT_EQ(text_of(events[0]["after"]), R"({"id":7,"v":"seven"})");
    EXPECT_STREQ(events[0]["op"].GetString(), "u");
}

TEST_F(DebeziumFormat, ANewPrimaryKeyIsADeleteAndACreate) {
    Change update = sample::update(table_, kEight);
    update.old_kind = OldRow::kKey;
    update.old_row = Row{table_, kSeven};
    const auto events = events_of(update);
    ASSERT_EQ(events.size(), 2u);
    EXPECT_EQ(text_of(events[0]["before"]), R"({"id":7})");
    EXPECT_EQ(text_of(events[0]["after"]), "null");
    EXPECT_STREQ(events[0]["op"].GetString(), "d");
    EXPECT_EQ(text_of(events[1]["before"]), "null");
    EXPECT_EQ(text_of(events[1]["after"]), R"({"id":8,"v":null})");
    EXPECT_STREQ(events[1]["op"].GetString(), "c");

    table_.replica_identity = ReplicaIdentity::kIndex;
    const auto by_index = events_of(update);
    ASSERT_EQ(by_index.size(), 1u);
    EXPECT_EQ(text_of(by_index[0]["before"]), R"({"id":7})");
    EXPECT_STREQ(by_index[0]["op"].GetString(), "u");
}

TEST_F(DebeziumFormat, DeleteHasWhatTheServerTellsOfTheRow) {
    const auto events = events_of(sample::remove(table_, OldRow::kFull, kEight));
    ASSERT_EQ(events.size(), 1u);
    EXPECT_EQ(text_of(events[0]["before"]), R"({"id":8,"v":null})");
    EXPECT_EQ(text_of(events[0]["after"]), "null");
    EXPECT_STREQ(events[0]["op"].GetString(), "d");
}

TEST_F(DebeziumFormat, UnchangedToastIsThePlaceholderOfItsType) {
    const auto unchanged = [](std::uint32_t oid) {
        return value_of(sample::column("v", oid), sample::unchanged());
    };
    EXPECT_EQ(unchanged(type_oid::kText), R"("__debezium_unavailable_value")");
    EXPECT_EQ(unchanged(type_oid::kJsonb), R"("__debezium_unavailable_value")");
    EXPECT_EQ(unchanged(type_oid::kBytea), R"("X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==")");
    EXPECT_EQ(unchanged(1009), R"(["__debezium_unavailable_value"])");
    EXPECT_EQ(unchanged(1001), R"(["X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ=="])");
    EXPECT_THAT(unchanged(1007), testing::StartsWith("[95,95,100,101,98,"));
}

TEST_F(DebeziumFormat, UnchangedToastComesFromTheOldRowUnderIdentityFull) {
    const std::vector<Value> row{sample::value("8"), sample::unchanged()};
    Change update = sample::update(table_, row);
    update.old_kind = OldRow::kFull;
    update.old_row = Row{table_, kSeven};
    const auto events = events_of(update);
    EXPECT_EQ(text_of(events.at(0)["after"]), R"({"id":8,"v":"seven"})");
    EXPECT_EQ(text_of(events.at(0)["before"]), R"({"id":7,"v":"seven"})");
    EXPECT_STREQ(events.at(0)["op"].GetString(), "u");
}

TEST_F(DebeziumFormat, TruncateIsAnEventForEachTable) {
    Relation other = sample::relation({}, "s", "u");
    other.oid = 16390;
    const std::vector<const Relation*> tables{&table_, &other};
    Change truncate = sample::change(Operation::kTruncate);
    truncate.truncated = tables;
    const auto events = events_of(truncate);
    ASSERT_EQ(events.size(), 2u);
    EXPECT_STREQ(events[0]["source"]["table"].GetString(), "t");
    EXPECT_STREQ(events[1]["source"]["schema"].GetString(), "s");
    EXPECT_STREQ(events[1]["op"].GetString(), "t");
    EXPECT_TRUE(events[1]["before"].IsNull() && events[1]["after"].IsNull());
}

TEST_F(DebeziumFormat, MessagesCarryTheirContentInBase64) {
    const auto events = events_of(sample::message("foo", "bar", false));
    ASSERT_EQ(events.size(), 1u);
    EXPECT_EQ(text_of(events[0]["message"]), R"({"prefix":"foo","content":"YmFy"})");
    EXPECT_STREQ(events[0]["op"].GetString(), "m");
    EXPECT_TRUE(events[0]["source"]["txId"].IsNull());
    EXPECT_EQ(events[0]["source"]["ts_us"].GetInt64(), events[0]["ts_us"].GetInt64());
    EXPECT_STREQ(events[0]["source"]["table"].GetString(), "");
}

// The examples of Debezium's manual, "Data type mappings", where it has one.
TEST_F(DebeziumFormat, ValuesFollowDebeziumsMapping) {
    EXPECT_EQ(value_of(type_oid::kBool, "t"), "true");
    EXPECT_EQ(value_of(type_oid::kInt8, "9223372036854775807"), "9223372036854775807");
    EXPECT_EQ(value_of(type_oid::kFloat8, "NaN"), R"("NaN")");
    EXPECT_EQ(value_of(type_oid::kNumeric, "1.50"), R"("1.50")");
    EXPECT_EQ(value_of(type_oid::kBytea, "\\x01fe"), R"("Af4=")");
    EXPECT_EQ(value_of(type_oid::kJsonb, R"({"a": 1})"), R"("{\"a\": 1}")");
    EXPECT_EQ(value_of(type_oid::kBit, "1", 1), "true");
    EXPECT_EQ(value_of(type_oid::kBit, "101", 3), R"("BQ==")");
    EXPECT_EQ(value_of(type_oid::kVarbit, "100000001"), R"("AQE=")");
}

TEST_F(DebeziumFormat, TimesFollowAdaptivePrecision) {
    EXPECT_EQ(value_of(type_oid::kDate, "2024-05-01"), "19844");
    EXPECT_EQ(value_of(type_oid::kTime, "12:34:56.789"), "45296789000");
    EXPECT_EQ(value_of(type_oid::kTime, "12:34:56.789", 3), "45296789");
    EXPECT_EQ(value_of(type_oid::kTimestamp, "2018-06-20 15:13:16.945104"), "1529507596945104");
    EXPECT_EQ(value_of(type_oid::kTimestamp, "2018-06-20 15:13:16.945", 3), "1529507596945");
    EXPECT_EQ(value_of(type_oid::kTimestamp, "infinity"), "9223372036825200000");
    EXPECT_EQ(value_of(type_oid::kTimestamp, "-infinity"), "-9223372036832400000");
    EXPECT_EQ(value_of(type_oid::kTimestamptz, "2018-06-20 15:13:16.9+02"),
              R"("2018-06-20T13:13:16.900000Z")");
    EXPECT_EQ(value_of(type_oid::kTimestamptz, "2018-06-20 15:13:16.9+02", 3),
              R"("2018-06-20T13:13:16.900Z")");
    EXPECT_EQ(value_of(type_oid::kTimestamptz, "2018-06-20 15:13:16+02", 0), R"("2018-06-20T13:13:16Z")");
    EXPECT_EQ(value_of(type_oid::kTimestamptz, "0044-03-15 12:00:00+00 BC", 0), R"("-0043-03-15T12:00:00Z")");
    EXPECT_EQ(value_of(type_oid::kTimestamptz, "12345-01-01 00:00:00+00", 0), R"("+12345-01-01T00:00:00Z")");
    EXPECT_EQ(value_of(type_oid::kTimestamptz, "infinity"), R"("infinity")");
    EXPECT_EQ(value_of(type_oid::kTimetz, "01:00:00.5+02"), R"("23:00:00.5Z")");
    EXPECT_EQ(value_of(type_oid::kTimetz, "24:00:00+00"), R"("24:00:00Z")");
    EXPECT_EQ(value_of(type_oid::kInterval, "1 mon"), "2629800000000");
}

TEST_F(DebeziumFormat, ArraysAreArrays) {
    EXPECT_EQ(value_of(1007, "{1,NULL,3}"), "[1,null,3]");
    EXPECT_EQ(value_of(1009, R"({"a b",NULL,"say \"hi\""})"), R"(["a b",null,"say \"hi\""])");
    EXPECT_EQ(value_of(1182, "{2024-05-01}"), "[19844]");
    EXPECT_EQ(value_of(1001, R"({"\\x01fe"})"), R"(["Af4="])");
    EXPECT_EQ(value_of(1007, "{{1,2},{3,4}}"), "[[1,2],[3,4]]");
    EXPECT_EQ(value_of(1020, "{(1,1),(0,0);(2,2),(1,1)}"), R"("{(1,1),(0,0);(2,2),(1,1)}")");
    Column moods = sample::column("v", 16500);
    moods.type_schema = "public";
    moods.type_name = "_mood";
    EXPECT_EQ(value_of(moods, sample::value("{happy,NULL}")), R"(["happy",null])");
}

TEST_F(DebeziumFormat, TextInAnotherFormStaysText) {
    EXPECT_EQ(value_of(type_oid::kDate, "05/01/2024"), R"("05/01/2024")");
    EXPECT_EQ(value_of(type_oid::kTimestamp, "soon"), R"("soon")");
    EXPECT_EQ(value_of(type_oid::kTimestamptz, "soon"), R"("soon")");
    EXPECT_EQ(value_of(type_oid::kInterval, "P1D"), R"("P1D")");
    EXPECT_EQ(value_of(type_oid::kBytea, "\\001a"), R"("\\001a")");
    EXPECT_EQ(value_of(type_oid::kBit, "10x", 3), R"("10x")");
    EXPECT_EQ(value_of(1007, "1,2"), R"("1,2")");
}

}  // namespace pgcascade
