#include "base/message_json.hpp"

#include <chrono>

#include <gtest/gtest.h>
#include <rapidjson/document.h>

namespace pgcascade::diagnostics {

namespace {

using namespace std::chrono_literals;

constexpr Timestamp kTime =
    std::chrono::sys_days{std::chrono::year{2024} / 5 / 1} + 12h + 34min + 56s + 7890us;

std::string json_of(std::string_view text, std::string_view hint = {}, const Fields& fields = {}) {
    return to_json({kTime, "info", text, hint, fields});
}

std::string read_back(const std::string& json, const char* member) {
    rapidjson::Document document;
    document.Parse<rapidjson::kParseValidateEncodingFlag>(json.data(), json.size());
    if (document.HasParseError() || !document.HasMember(member)) return "not in " + json;
    return {document[member].GetString(), document[member].GetStringLength()};
}

}  // namespace

TEST(MessageJson, SaysWhenHowGraveAndWhat) {
    EXPECT_EQ(json_of("stopping"),
              R"({"timestamp":"2024-05-01T12:34:56.007Z","level":"info","message":"stopping"})");
}

TEST(MessageJson, HintAndFieldsComeWhereThereAreAny) {
    EXPECT_EQ(json_of("feed shop: away", "see to it", {{"feed", "shop"}, {"sqlstate", ""}, {"lsn", "0/1"}}),
              R"({"timestamp":"2024-05-01T12:34:56.007Z","level":"info","message":"feed shop: away",)"
              R"("hint":"see to it","feed":"shop","lsn":"0/1"})");
}

TEST(MessageJson, TimesBeforeTheEpochAreCountedDownwards) {
    const Timestamp before{-1us};
    EXPECT_EQ(read_back(to_json({before, "info", "x", {}, {}}), "timestamp"), "1969-12-31T23:59:59.999Z");
}

TEST(MessageJson, IsOneLineOfUtf8WhateverBytesAreInIt) {
    for (int first = 0; first < 256; ++first)
        for (int second = 0; second < 256; ++second) {
            const std::string bytes{'x', static_cast<char>(first), static_cast<char>(second), 'y'};
            const std::string json = json_of(bytes, bytes, {{"user", bytes}});
            ASSERT_EQ(json.find('\n'), std::string::npos) << json;
            for (const char* member : {"message", "hint", "user"}) {
                const std::string text = read_back(json, member);
                ASSERT_TRUE(text.starts_with('x') && text.ends_with('y')) << text;
                if (first < 0x80 && second < 0x80) {
                    ASSERT_EQ(text, bytes);
                }
            }
        }
}

TEST(MessageJson, BytesThatAreNoCharacterAreReplacedOneByOne) {
    EXPECT_EQ(read_back(json_of("Grüße \xE2\x82 \xFF 😀 \xC0\x80"), "message"),
              "Grüße \xEF\xBF\xBD\xEF\xBF\xBD \xEF\xBF\xBD 😀 \xEF\xBF\xBD\xEF\xBF\xBD");
    const std::string with_zero{"a\0b\"\\\n", 6};
    EXPECT_EQ(read_back(json_of(with_zero), "message"), with_zero);
}

}  // namespace pgcascade::diagnostics
