#include "stream/array_text.hpp"

#include <gtest/gtest.h>

namespace pgcascade {

namespace {

// The tokens in a form of our own: [a|b] with NULL as ~.
std::string tokens(std::string_view text) {
    ArrayReader reader;
    reader.start(text);
    std::string seen;
    while (true) {
        switch (reader.next()) {
            case ArrayReader::Token::kOpen:
                seen += '[';
                break;
            case ArrayReader::Token::kClose:
                seen += ']';
                break;
            case ArrayReader::Token::kComma:
                seen += '|';
                break;
            case ArrayReader::Token::kNull:
                seen += '~';
                break;
            case ArrayReader::Token::kElement:
                seen += reader.element();
                break;
            case ArrayReader::Token::kEnd:
                return seen;
            case ArrayReader::Token::kError:
                return "error";
        }
    }
}

}  // namespace

TEST(ArrayText, ReadsWhatArrayOutPrints) {
    EXPECT_EQ(tokens("{}"), "[]");
    EXPECT_EQ(tokens("{1,2,NULL}"), "[1|2|~]");
    EXPECT_EQ(tokens(R"({"a b","NULL","","q\"uote","back\\slash","{x,y}"})"),
              R"([a b|NULL||q"uote|back\slash|{x,y}])");
    EXPECT_EQ(tokens("{{1,2},{3,4}}"), "[[1|2]|[3|4]]");
    EXPECT_EQ(tokens("[0:1][-1:0]={{1,2},{3,4}}"), "[[1|2]|[3|4]]");
    EXPECT_EQ(tokens("{null}"), "[null]");
}

TEST(ArrayText, RefusesWhatIsNoArray) {
    for (const char* text :
         {"", "1", "{", "}", "{1", "{1,}", "{,1}", "{1}2", "{1}{2}", "{{1}", "{1}}", "{\"a}", "{\"a\\",
          "{\"a\"b}", "{a\"b\"}", "{1 {2}}", "[0:1]", "[0:1]{1}", "{},{}"})
        EXPECT_EQ(tokens(text), "error") << text;
}

TEST(ArrayText, EveryCutArrayIsRefused) {
    const std::string whole = R"([0:1][1:2]={{"a\"b",NULL},{c,"d\\"}})";
    ArrayReader reader;
    EXPECT_TRUE(reader.accepts(whole));
    for (std::size_t length = 0; length < whole.size(); ++length)
        EXPECT_FALSE(reader.accepts(std::string_view{whole}.substr(0, length))) << length;
}

}  // namespace pgcascade
