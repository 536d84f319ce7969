#include "stream/json_writer.hpp"

#include <random>

#include <gtest/gtest.h>
#include <rapidjson/document.h>

namespace pgcascade {

namespace {

template <class Write>
std::string written(const Write& write) {
    std::string out;
    JsonWriter writer;
    writer.start(out);
    write(writer);
    writer.finish();
    return out;
}

std::string read_back(const std::string& json) {
    rapidjson::Document document;
    document.Parse<rapidjson::kParseValidateEncodingFlag>(json.data(), json.size());
    EXPECT_FALSE(document.HasParseError()) << json;
    if (document.HasParseError() || !document.IsString()) return "not a string";
    return {document.GetString(), document.GetStringLength()};
}

}  // namespace

TEST(JsonWriter, EscapesAsPostgresDoes) {
    EXPECT_EQ(json_string("a\"b\\c\b\f\n\r\t\x01\x1F\x7F/"),
              "\"a\\\"b\\\\c\\b\\f\\n\\r\\t\\u0001\\u001f\x7F/\"");
    EXPECT_EQ(json_string(std::string_view{"\0", 1}), "\"\\u0000\"");
    EXPECT_EQ(json_string(""), "\"\"");
}

// Every length around the vector's and the buffer's, with what needs escaping at every place.
TEST(JsonWriter, EveryLengthAndPlaceOfASpecialByteReadsBack) {
    for (std::size_t length = 1; length < 70; ++length)
        for (std::size_t at = 0; at < length; ++at)
            for (const std::string special : {"\"", "\\", "\n", "é", "€", "😀"}) {
                std::string text(length, 'x');
                text.replace(at, 1, special);
                ASSERT_EQ(read_back(json_string(text)), text);
            }
}

TEST(JsonWriter, LongTextsPassThroughTheBuffer) {
    std::string text;
    while (text.size() < 200'000) text += "plain text, then \"quotes\", a tab\t, Grüße, 漢字 and 😀; ";
    EXPECT_EQ(read_back(json_string(text)), text);
    EXPECT_EQ(read_back(json_string(std::string(100'000, '\n'))), std::string(100'000, '\n'));
    const std::string digits(50'000, '7');
    EXPECT_EQ(written([&](JsonWriter& writer) { writer.number_or_string(digits); }), digits);
}

TEST(JsonWriter, RandomUtf8ReadsBack) {
    std::mt19937 random{20240501};
    const std::string pieces[] = {
        "a", "\"", "\\", "\n", "\x1B", "ß", "\xDF\xBF", "€", "\xEF\xBF\xBF", "😀", "0123456789abcdef"};
    for (int round = 0; round < 2000; ++round) {
        std::string text;
        for (auto left = random() % 200; left > 0; --left) text += pieces[random() % std::size(pieces)];
        ASSERT_TRUE(is_utf8(text));
        ASSERT_EQ(read_back(json_string(text)), text);
    }
}

TEST(JsonWriter, RandomBytesAlwaysMakeValidJson) {
    std::mt19937 random{42};
    for (int round = 0; round < 5000; ++round) {
        std::string bytes(random() % 100, '\0');
        for (char& byte : bytes)
            byte = static_cast<char>(random() % 3 == 0 ? random() : 0x60 + random() % 0xA0);
        const std::string back = read_back(json_string(bytes));
        if (is_utf8(bytes)) {
            ASSERT_EQ(back, bytes);
        }
    }
}

TEST(JsonWriter, BytesThatAreNotUtf8BecomeReplacementCharacters) {
    const std::string_view replaced = "\"\xEF\xBF\xBD\"";
    EXPECT_EQ(json_string("\x80"), replaced);
    EXPECT_EQ(json_string("\xC3"), replaced);
    for (const std::string_view bad :
         {"\xC0\xAF", "\xED\xA0\x80", "\xE0\x80\x80", "\xF4\x90\x80\x80", "\xF0\x80\x80\x80",
          "\xF5\x80\x80\x80", "\xE2\x82", "\xF0\x9F\x98", "\xFF\xFE", "\xC3("}) {
        EXPECT_FALSE(is_utf8(bad));
        EXPECT_NE(json_string(bad).find("\xEF\xBF\xBD"), std::string::npos);
        read_back(json_string(bad));
    }
    for (const std::string_view good :
         {"\xC2\x80", "\xED\x9F\xBF", "\xEE\x80\x80", "\xF0\x90\x80\x80", "\xF4\x8F\xBF\xBF"}) {
        EXPECT_TRUE(is_utf8(good));
        EXPECT_EQ(json_string(good), '"' + std::string{good} + '"');
    }
}

TEST(JsonWriter, NumbersAreThoseOfJsonsGrammar) {
    for (const char* number :
         {"0", "-0", "7", "-7", "1.5", "-0.001", "1e5", "1E+20", "1e-05", "123456789012345678901234567890"})
        EXPECT_TRUE(is_json_number(number)) << number;
    for (const char* text : {"", "-", "+1", "01", "1.", ".5", "1e", "1e+", "NaN", "Infinity", "-Infinity",
                             "0x1", "1 ", " 1", "1,2", "--1"})
        EXPECT_FALSE(is_json_number(text)) << text;
}

TEST(JsonWriter, LsnsReadAsPostgresPrintsThem) {
    for (const std::uint64_t value : {0ULL, 1ULL, 0x10ULL, 0x1A2BULL, 0x16B374D848ULL, 0x100000000ULL, ~0ULL})
        EXPECT_EQ(written([&](JsonWriter& writer) { writer.lsn(Lsn{value}); }),
                  '"' + Lsn{value}.to_string() + '"');
}

TEST(JsonWriter, TimesAreIso8601InUtc) {
    const auto time = [](std::int64_t micros) {
        return written(
            [&](JsonWriter& writer) { writer.utc_time(Timestamp{std::chrono::microseconds{micros}}); });
    };
    EXPECT_EQ(time(0), R"("1970-01-01T00:00:00.000000Z")");
    EXPECT_EQ(time(-1), R"("1969-12-31T23:59:59.999999Z")");
    EXPECT_EQ(time(1'709'164'800'000'001), R"("2024-02-29T00:00:00.000001Z")");
    EXPECT_EQ(time(253'402'300'800'000'000), R"("10000-01-01T00:00:00.000000Z")");
}

TEST(JsonWriter, Base64IsPaddedAtTheEndOnly) {
    const auto base64 = [](const std::string& bytes) {
        return written([&](JsonWriter& writer) { writer.base64(bytes); });
    };
    EXPECT_EQ(base64(""), R"("")");
    EXPECT_EQ(base64("f"), R"("Zg==")");
    EXPECT_EQ(base64("fo"), R"("Zm8=")");
    EXPECT_EQ(base64("foo"), R"("Zm9v")");
    std::string expected;
    for (int i = 0; i < 1000; ++i) expected += "Zm9v";
    std::string bytes;
    for (int i = 0; i < 1000; ++i) bytes += "foo";
    EXPECT_EQ(base64(bytes), '"' + expected + '"');
    EXPECT_EQ(base64(bytes + "f"), '"' + expected + "Zg==\"");
}

TEST(JsonWriter, EmbeddedJsonKeepsEverythingButLineBreaks) {
    const auto embedded = [](const std::string& json) {
        return written([&](JsonWriter& writer) { writer.embedded(json); });
    };
    EXPECT_EQ(embedded("{\"a\" :\r\n\t[1, \"x\\ny\", \"é\"]}"), "{\"a\" :   [1, \"x\\ny\", \"é\"]}");
    std::string large = "[";
    for (int i = 0; i < 20'000; ++i) large += "\"€uro\",";
    large += "0]";
    EXPECT_EQ(embedded(large), large);
    EXPECT_EQ(embedded("\"\xFF\""), "\"\xEF\xBF\xBD\"");
}

}  // namespace pgcascade
