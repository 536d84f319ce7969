#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidjson/document.h>

#include <pgcascade/error.hpp>
#include <pgcascade/format.hpp>

#include "stream/builtin_types.hpp"
#include "unit/stream/sample_changes.hpp"

namespace pgcascade {

namespace {

constexpr std::uint32_t kText = 25;

std::string json_of(const Change& change, bool transactions = false) {
    std::string out;
    make_formatter({.format = Format::kJson, .transactions = transactions})->write(change, out);
    return out;
}

// The text between {"new":{"v": and } for one value of the type.
std::string json_value_of(std::uint32_t type_oid, std::string_view text) {
    const Relation table = sample::relation({sample::column("v", type_oid)});
    const std::vector<Value> row{sample::value(text)};
    const std::string line = json_of(sample::insert(table, row));
    EXPECT_FALSE(rapidjson::Document{}.Parse(line.c_str()).HasParseError()) << line;
    const std::string before = R"("new":{"v":)";
    const auto start = line.find(before) + before.size();
    return line.substr(start, line.rfind(R"(},"lsn")") - start);
}

}  // namespace

TEST(JsonFormat, InsertHasEveryKeyInItsPlace) {
    const Relation table =
        sample::relation({sample::column("id", type_oid::kInt8, true), sample::column("v", kText)});
    const std::vector<Value> row{sample::value("7"), sample::value("seven")};
    EXPECT_EQ(json_of(sample::insert(table, row)),
              R"({"op":"insert","schema":"public","table":"t","new":{"id":7,"v":"seven"},"lsn":"0/1A2B",)"
              R"("commit_lsn":"0/2000","xid":745,"ordinal":1,"committed_at":"2024-05-01T12:34:56.123456Z"})"
              "\n");
}

TEST(JsonFormat, UpdateOmitsOldAndUnchangedWhereThereIsNothingToTell) {
    const Relation table = sample::relation({sample::column("id", type_oid::kInt8, true)});
    const std::vector<Value> row{sample::value("7")};
    EXPECT_THAT(json_of(sample::update(table, row)), testing::HasSubstr(R"("new":{"id":7},"lsn")"));
}

TEST(JsonFormat, UpdateOfTheKeyShowsTheOldKeyOnly) {
    const Relation table =
        sample::relation({sample::column("id", type_oid::kInt8, true), sample::column("v", kText)});
    const std::vector<Value> row{sample::value("8"), sample::null()};
    const std::vector<Value> old{sample::value("7"), sample::null()};
    Change update = sample::update(table, row);
    update.old_kind = OldRow::kKey;
    update.old_row = Row{table, old};
    EXPECT_THAT(json_of(update), testing::HasSubstr(R"("new":{"id":8,"v":null},"old":{"id":7},"lsn")"));
}

TEST(JsonFormat, UnchangedToastIsNamedAndNeverNull) {
    const Relation table =
        sample::relation({sample::column("big", kText), sample::column("id", type_oid::kInt8, true),
                          sample::column("bigger", kText)});
    const std::vector<Value> row{sample::unchanged(), sample::value("7"), sample::unchanged()};
    EXPECT_THAT(json_of(sample::update(table, row)),
                testing::HasSubstr(R"("new":{"id":7},"unchanged":["big","bigger"],"lsn")"));
}

TEST(JsonFormat, DeleteShowsTheWholeOldRowUnderIdentityFull) {
    const Relation table =
        sample::relation({sample::column("id", type_oid::kInt4, true), sample::column("v", kText, true)});
    const std::vector<Value> old{sample::value("7"), sample::null()};
    EXPECT_THAT(
        json_of(sample::remove(table, OldRow::kFull, old)),
        testing::StartsWith(
            R"({"op":"delete","schema":"public","table":"t","old":{"id":7,"v":null},"lsn":"0/1A2B",)"));
}

TEST(JsonFormat, TruncateNamesAllItsTables) {
    const Relation one = sample::relation({}, "public", "one");
    Relation two = sample::relation({}, "Sales \"EU\"", "two");
    two.oid = 16390;
    const std::vector<const Relation*> tables{&one, &two};
    Change truncate = sample::change(Operation::kTruncate);
    truncate.truncated = tables;
    truncate.cascade = true;
    EXPECT_THAT(json_of(truncate),
                testing::StartsWith(R"({"op":"truncate","tables":[{"schema":"public","table":"one"},)"
                                    R"({"schema":"Sales \"EU\"","table":"two"}],"cascade":true,)"
                                    R"("restart_identity":false,"lsn":"0/1A2B","commit_lsn":"0/2000",)"));
}

TEST(JsonFormat, MessageContentIsTextWhereItIsUtf8AndBase64Elsewhere) {
    EXPECT_THAT(
        json_of(sample::message("audit", "caf\xC3\xA9", true)),
        testing::StartsWith(R"({"op":"message","prefix":"audit","content":"café","transactional":true,)"
                            R"("lsn":"0/1A2B","commit_lsn":"0/2000","xid":745,"ordinal":1,)"));
    EXPECT_EQ(json_of(sample::message("audit", "\xFF\x01\x02\x03", false)),
              R"({"op":"message","prefix":"audit","content":"/wECAw==","content_encoding":"base64",)"
              R"("transactional":false,"lsn":"0/1A2B"})"
              "\n");
}

TEST(JsonFormat, TheOriginIsInEveryLineThatCanKnowIt) {
    for (const Operation operation : {Operation::kTruncate, Operation::kCommit}) {
        Change change = sample::change(operation);
        EXPECT_EQ(json_of(change, true).find("origin"), std::string::npos);
        change.origin = "eu \"1\"";
        EXPECT_NE(json_of(change, true).find(R"(,"origin":"eu \"1\""})"), std::string::npos);
    }
}

TEST(JsonFormat, BeginAndCommitComeOnRequestOnly) {
    const Change begin = sample::change(Operation::kBegin);
    const Change commit = sample::change(Operation::kCommit);
    EXPECT_EQ(json_of(begin), "");
    EXPECT_EQ(json_of(commit), "");
    EXPECT_EQ(json_of(begin, true),
              R"({"op":"begin","commit_lsn":"0/2000","xid":745,"committed_at":"2024-05-01T12:34:56.123456Z"})"
              "\n");
    EXPECT_EQ(
        json_of(commit, true),
        R"({"op":"commit","commit_lsn":"0/2000","xid":745,"committed_at":"2024-05-01T12:34:56.123456Z",)"
        R"("end_lsn":"0/2030"})"
        "\n");
}

TEST(JsonFormat, NumbersThatJavaScriptWouldCorruptAreStrings) {
    EXPECT_EQ(json_value_of(type_oid::kInt8, "9007199254740991"), "9007199254740991");
    EXPECT_EQ(json_value_of(type_oid::kInt8, "-9007199254740991"), "-9007199254740991");
    EXPECT_EQ(json_value_of(type_oid::kInt8, "9007199254740992"), R"("9007199254740992")");
    EXPECT_EQ(json_value_of(type_oid::kInt8, "-9223372036854775808"), R"("-9223372036854775808")");
    EXPECT_EQ(json_value_of(type_oid::kNumeric, "1.50"), R"("1.50")");
    EXPECT_EQ(json_value_of(type_oid::kFloat8, "1e-05"), "1e-05");
    EXPECT_EQ(json_value_of(type_oid::kFloat8, "NaN"), R"("NaN")");
    EXPECT_EQ(json_value_of(type_oid::kFloat4, "-Infinity"), R"("-Infinity")");
    EXPECT_EQ(json_value_of(type_oid::kOid, "4294967295"), "4294967295");
}

TEST(JsonFormat, BooleansAreJsonAndByteaKeepsItsText) {
    EXPECT_EQ(json_value_of(type_oid::kBool, "t"), "true");
    EXPECT_EQ(json_value_of(type_oid::kBool, "f"), "false");
    EXPECT_EQ(json_value_of(type_oid::kBytea, "\\xdeadbeef"), R"("\\xdeadbeef")");
}

TEST(JsonFormat, JsonIsEmbeddedOnOneLine) {
    EXPECT_EQ(
        json_value_of(type_oid::kJson, "{\"a\":\n\t[1,\r\n 2], \"a\": 123456789012345678901234567890.5}"),
        R"({"a":  [1,   2], "a": 123456789012345678901234567890.5})");
    EXPECT_EQ(json_value_of(type_oid::kJsonb, R"({"k": "line\nbreak \"quoted\""})"),
              R"({"k": "line\nbreak \"quoted\""})");
}

// What a server that breaks its own rules sends must not break the consumer's parser.
TEST(JsonFormat, TextThatDoesNotFitItsTypeBecomesAString) {
    for (const std::uint32_t oid : {type_oid::kInt4, type_oid::kInt8, type_oid::kFloat8, type_oid::kBool})
        for (const std::string text : {"", "-", "01", "1.", ".5", "1e", "0x10", "1 ", "tr\"ue", "+1"})
            EXPECT_THAT(json_value_of(oid, text), testing::StartsWith("\"")) << oid << ' ' << text;
}

TEST(JsonFormat, BinaryValuesAreRefused) {
    const Relation table = sample::relation({sample::column("id", type_oid::kInt4)});
    const std::vector<Value> row{Value{Value::State::kBinary, "\0\0\0\1"}};
    EXPECT_THROW(json_of(sample::insert(table, row)), Error);
}

TEST(JsonFormat, ARelationAnnouncedAnewIsPreparedAnew) {
    const auto formatter = make_formatter({});
    const std::vector<Value> row{sample::value("1")};
    std::string out;
    Relation table = sample::relation({sample::column("before", type_oid::kInt4)});
    formatter->write(sample::insert(table, row), out);
    table.columns[0] = sample::column("after", kText);
    table.generation = 2;
    formatter->write(sample::insert(table, row), out);
    table.columns[0].name = "unknown";
    table.generation = 0;
    formatter->write(sample::insert(table, row), out);
    EXPECT_THAT(out,
                testing::AllOf(testing::HasSubstr(R"({"before":1})"), testing::HasSubstr(R"({"after":"1"})"),
                               testing::HasSubstr(R"({"unknown":"1"})")));
}

TEST(JsonFormat, MoreTablesThanAreKeptAreStillToldApart) {
    const auto formatter = make_formatter({});
    const std::vector<Value> row{sample::value("1")};
    for (int pass = 0; pass < 2; ++pass)
        for (std::uint32_t oid = 1; oid <= 5000; ++oid) {
            Relation table =
                sample::relation({sample::column("c", type_oid::kInt4)}, "public", std::to_string(oid));
            table.oid = oid;
            table.generation = oid;
            std::string out;
            formatter->write(sample::insert(table, row), out);
            ASSERT_THAT(out,
                        testing::HasSubstr("\"table\":\"" + std::to_string(oid) + "\",\"new\":{\"c\":1}"));
        }
}

}  // namespace pgcascade
