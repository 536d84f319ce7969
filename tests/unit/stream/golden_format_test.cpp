#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <rapidjson/document.h>

#include <pgcascade/error.hpp>
#include <pgcascade/format.hpp>

#include "golden/golden_file.hpp"
#include "pgoutput/decoder.hpp"

// Every change that real servers sent (tests/golden), in every format: each line reads back as the JSON that
// says what the change says.

namespace pgcascade {

namespace {

rapidjson::Document parsed(std::string_view line) {
    rapidjson::Document document;
    document.Parse<rapidjson::kParseValidateEncodingFlag | rapidjson::kParseFullPrecisionFlag>(line.data(),
                                                                                               line.size());
    EXPECT_FALSE(document.HasParseError()) << line;
    EXPECT_TRUE(document.IsObject()) << line;
    return document;
}

std::vector<std::string> lines_of(const std::string& out) {
    EXPECT_TRUE(out.empty() || out.ends_with('\n'));
    std::vector<std::string> lines;
    for (std::size_t start = 0; start < out.size();) {
        const auto end = out.find('\n', start);
        lines.push_back(out.substr(start, end - start));
        start = end + 1;
    }
    return lines;
}

bool has_binary(const Change& change) {
    for (const Row* row : {&change.new_row, &change.old_row})
        for (const Value& value : row->values())
            if (value.state() == Value::State::kBinary) return true;
    return false;
}

std::size_t lines_expected(Format format, const Change& change) {
    const bool is_edge = change.operation == Operation::kBegin || change.operation == Operation::kCommit;
    if (is_edge) return format == Format::kDebezium ? 0 : 1;
    if (change.operation == Operation::kTruncate && format != Format::kJson) return change.truncated.size();
    const bool splits = format == Format::kDebezium && change.operation == Operation::kUpdate &&
                        change.old_kind == OldRow::kKey &&
                        change.relation->replica_identity == ReplicaIdentity::kDefault;
    return splits ? 2 : 1;
}

// The row in the format json names each column once, in "new" or in "unchanged".
void expect_row(const Change& change, const rapidjson::Document& line) {
    if (change.new_row.empty()) return;
    std::size_t unchanged = line.HasMember("unchanged") ? line["unchanged"].Size() : 0;
    EXPECT_EQ(line["new"].MemberCount() + unchanged, change.new_row.size());
    for (std::size_t at = 0; at < change.new_row.size(); ++at) {
        const std::string& name = change.relation->columns[at].name;
        const Value& value = change.new_row[at];
        EXPECT_EQ(line["new"].HasMember(name.c_str()), !value.is_unchanged()) << name;
        if (value.is_null()) {
            EXPECT_TRUE(line["new"][name.c_str()].IsNull()) << name;
        }
    }
}

class GoldenFormat : public testing::TestWithParam<const char*> {
  protected:
    // Calls `check` with each change, its lines in the format, and the SQL it came from.
    template <class Check>
    static void for_each_change(Format format, const Check& check) {
        const std::string path = std::string{PGCASCADE_TESTS_DIR "/golden/"} + GetParam();
        int changes = 0;
        for (const golden::Session& session : golden::read_sessions(path)) {
            pgoutput::Decoder decoder;
            const auto formatter = make_formatter({.format = format, .transactions = true});
            for (const golden::Step& step : session.steps) {
                SCOPED_TRACE(step.sql);
                for (const golden::Message& message : step.messages) {
                    const Change* change = decoder.decode(message.bytes, message.wal_start);
                    if (change == nullptr) continue;
                    std::string out;
                    if (has_binary(*change)) {
                        EXPECT_THROW(formatter->write(*change, out), Error);
                        continue;
                    }
                    formatter->write(*change, out);
                    check(*change, lines_of(out));
                    ++changes;
                }
            }
        }
        EXPECT_GT(changes, 100);
    }
};

}  // namespace

TEST_P(GoldenFormat, EveryLineIsJson) {
    for (const Format format : {Format::kJson, Format::kWal2Json, Format::kDebezium})
        for_each_change(format, [&](const Change& change, const std::vector<std::string>& lines) {
            EXPECT_EQ(lines.size(), lines_expected(format, change));
            for (const std::string& line : lines) parsed(line);
        });
}

TEST_P(GoldenFormat, JsonSaysWhatTheChangeSays) {
    for_each_change(Format::kJson, [](const Change& change, const std::vector<std::string>& lines) {
        const rapidjson::Document line = parsed(lines.at(0));
        EXPECT_EQ(line["op"].GetString(), to_string(change.operation));
        EXPECT_EQ(line.HasMember("old"), change.old_kind != OldRow::kNone);
        if (change.is_row_change()) {
            EXPECT_EQ(line["schema"].GetString(), change.relation->schema);
            EXPECT_EQ(line["table"].GetString(), change.relation->table);
            expect_row(change, line);
        }
        if (change.operation == Operation::kMessage && !change.transactional) return;
        EXPECT_EQ(line["commit_lsn"].GetString(), change.commit_lsn.to_string());
        EXPECT_EQ(line["xid"].GetUint(), change.xid);
        if (change.ordinal != 0) {
            EXPECT_EQ(line["ordinal"].GetUint64(), change.ordinal);
        }
    });
}

INSTANTIATE_TEST_SUITE_P(Captured, GoldenFormat, testing::Values("pgoutput_15.hex", "pgoutput_18.hex"),
                         [](const auto& file) { return std::string{file.param}.substr(0, 11); });

}  // namespace pgcascade
