#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidjson/document.h>

#include <pgcascade/format.hpp>

#include "stream/builtin_types.hpp"
#include "unit/stream/sample_changes.hpp"

namespace pgcascade {

namespace {

std::string wal2json_of(const Change& change, FormatOptions options = {}) {
    options.format = Format::kWal2Json;
    std::string out;
    make_formatter(std::move(options))->write(change, out);
    EXPECT_FALSE(rapidjson::Document{}.Parse<rapidjson::kParseStopWhenDoneFlag>(out.c_str()).HasParseError())
        << out;
    return out;
}

// What follows "value": for one value of the type.
std::string value_of(std::uint32_t type_oid, std::string_view text) {
    const Relation table = sample::relation({sample::column("v", type_oid)});
    const std::vector<Value> row{sample::value(text)};
    const std::string line = wal2json_of(sample::insert(table, row));
    const std::string before = "\"value\":";
    const auto start = line.find(before) + before.size();
    return line.substr(start, line.rfind("}]}") - start);
}

const std::vector<Value> kSeven{sample::value("7"), sample::value("seven")};
const std::vector<Value> kEight{sample::value("8"), sample::null()};

class Wal2JsonFormat : public testing::Test {
  protected:
    Relation table_ = sample::relation(
        {sample::column("id", type_oid::kInt4, true), sample::column("v", type_oid::kVarchar, false, 34)});
};

}  // namespace

TEST_F(Wal2JsonFormat, InsertShowsNameTypeAndValueOfEachColumn) {
    EXPECT_EQ(
        wal2json_of(sample::insert(table_, kSeven)),
        R"({"action":"I","schema":"public","table":"t","columns":[{"name":"id","type":"integer","value":7},)"
        R"json({"name":"v","type":"character varying(30)","value":"seven"}]})json"
        "\n");
}

TEST_F(Wal2JsonFormat, UpdateTakesTheIdentityFromTheNewRowWhereItDidNotChange) {
    EXPECT_EQ(
        wal2json_of(sample::update(table_, kSeven)),
        R"({"action":"U","schema":"public","table":"t","columns":[{"name":"id","type":"integer","value":7},)"
        R"json({"name":"v","type":"character varying(30)","value":"seven"}],)json"
        R"("identity":[{"name":"id","type":"integer","value":7}]})"
        "\n");
}

TEST_F(Wal2JsonFormat, UpdateOfTheKeyShowsTheOldOne) {
    Change update = sample::update(table_, kEight);
    update.old_kind = OldRow::kKey;
    update.old_row = Row{table_, kSeven};
    EXPECT_THAT(
        wal2json_of(update),
        testing::HasSubstr(R"("value":null}],"identity":[{"name":"id","type":"integer","value":7}]})"));
}

TEST_F(Wal2JsonFormat, IdentityFullIsTheWholeOldRow) {
    EXPECT_EQ(
        wal2json_of(sample::remove(table_, OldRow::kFull, kEight)),
        R"({"action":"D","schema":"public","table":"t","identity":[{"name":"id","type":"integer","value":8},)"
        R"json({"name":"v","type":"character varying(30)","value":null}]})json"
        "\n");
}

TEST_F(Wal2JsonFormat, WithoutAKeyThereIsNoIdentity) {
    table_.columns[0].is_key = false;
    EXPECT_THAT(wal2json_of(sample::update(table_, kSeven)), testing::EndsWith("\"value\":\"seven\"}]}\n"));
}

TEST_F(Wal2JsonFormat, UnchangedToastIsLeftOut) {
    const std::vector<Value> row{sample::value("7"), sample::unchanged()};
    EXPECT_THAT(wal2json_of(sample::update(table_, row)),
                testing::HasSubstr(R"("columns":[{"name":"id","type":"integer","value":7}],"identity")"));
}

TEST_F(Wal2JsonFormat, ValuesAreQuotedAsThePluginDoes) {
    EXPECT_EQ(value_of(type_oid::kInt8, "9223372036854775807"), "9223372036854775807");
    EXPECT_EQ(value_of(type_oid::kNumeric, "1.50"), "1.50");
    EXPECT_EQ(value_of(type_oid::kNumeric, "NaN"), "null");
    EXPECT_EQ(value_of(type_oid::kFloat8, "-Infinity"), "null");
    EXPECT_EQ(value_of(type_oid::kFloat4, "1e-05"), "1e-05");
    EXPECT_EQ(value_of(type_oid::kBool, "t"), "true");
    EXPECT_EQ(value_of(type_oid::kBool, "f"), "false");
    EXPECT_EQ(value_of(type_oid::kBytea, "\\xdeadbeef"), R"("deadbeef")");
    EXPECT_EQ(value_of(type_oid::kJsonb, R"({"a": 1})"), R"("{\"a\": 1}")");
    EXPECT_EQ(value_of(1007, "{1,2}"), R"("{1,2}")");
}

TEST_F(Wal2JsonFormat, DomainsAreQuotedAndNamedAfterTheirBaseType) {
    table_.columns[0].type_oid = 16500;
    table_.columns[0].type_schema = "pg_catalog";
    table_.columns[0].type_name = "int4";
    EXPECT_THAT(wal2json_of(sample::insert(table_, kSeven)),
                testing::HasSubstr(R"({"name":"id","type":"integer","value":"7"})"));
}

TEST_F(Wal2JsonFormat, FormatTypeNamesWhatIsNotBuiltIn) {
    table_.columns[0].type_oid = 16500;
    int asked = 0;
    FormatOptions options;
    options.wal2json.format_type = [&](std::uint32_t oid, std::int32_t modifier) {
        ++asked;
        EXPECT_EQ(oid, 16500u);
        EXPECT_EQ(modifier, -1);
        return std::string{"\"Positive\""};
    };
    options.format = Format::kWal2Json;
    const auto formatter = make_formatter(options);
    std::string out;
    formatter->write(sample::insert(table_, kSeven), out);
    table_.generation = 2;
    formatter->write(sample::insert(table_, kSeven), out);
    EXPECT_THAT(out, testing::HasSubstr(R"({"name":"id","type":"Positive","value":"7"})"));
    EXPECT_EQ(asked, 1);
}

TEST_F(Wal2JsonFormat, TransactionsAreThereUnlessDeclined) {
    EXPECT_EQ(wal2json_of(sample::change(Operation::kBegin)), "{\"action\":\"B\"}\n");
    EXPECT_EQ(wal2json_of(sample::change(Operation::kCommit)), "{\"action\":\"C\"}\n");
    std::string out;
    const auto formatter = make_formatter({.format = Format::kWal2Json, .transactions = false});
    formatter->write(sample::change(Operation::kBegin), out);
    formatter->write(sample::change(Operation::kCommit), out);
    EXPECT_EQ(out, "");
}

TEST_F(Wal2JsonFormat, TruncateIsALineForEachTable) {
    Relation other = sample::relation({}, "s", "u");
    other.oid = 16390;
    const std::vector<const Relation*> tables{&table_, &other};
    Change truncate = sample::change(Operation::kTruncate);
    truncate.truncated = tables;
    EXPECT_EQ(wal2json_of(truncate),
              "{\"action\":\"T\",\"schema\":\"public\",\"table\":\"t\"}\n"
              "{\"action\":\"T\",\"schema\":\"s\",\"table\":\"u\"}\n");
}

TEST_F(Wal2JsonFormat, OptionsAddWhatThePluginAdds) {
    FormatOptions options;
    options.wal2json = {.include_xids = true, .include_timestamp = true, .include_lsn = true};
    EXPECT_EQ(
        wal2json_of(sample::change(Operation::kCommit), options),
        R"({"action":"C","xid":745,"timestamp":"2024-05-01 12:34:56.123456+00","lsn":"0/2000","nextlsn":"0/2030"})"
        "\n");
    EXPECT_THAT(
        wal2json_of(sample::insert(table_, kSeven), options),
        testing::StartsWith(
            R"({"action":"I","xid":745,"timestamp":"2024-05-01 12:34:56.123456+00","lsn":"0/1A2B","schema")"));
    EXPECT_EQ(
        wal2json_of(sample::message("p", "c", false), options),
        R"({"action":"M","xid":null,"timestamp":null,"lsn":"0/1A2B","transactional":false,"prefix":"p","content":"c"})"
        "\n");
    Change commit = sample::change(Operation::kCommit);
    commit.committed_at = std::chrono::sys_days{std::chrono::year{2024} / 5 / 1} + std::chrono::seconds{50};
    EXPECT_THAT(wal2json_of(commit, options), testing::HasSubstr(R"("2024-05-01 00:00:50+00")"));
    commit.committed_at += std::chrono::milliseconds{500};
    EXPECT_THAT(wal2json_of(commit, options), testing::HasSubstr(R"("2024-05-01 00:00:50.5+00")"));
}

}  // namespace pgcascade
