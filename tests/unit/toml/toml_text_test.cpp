#include "toml/toml_text.hpp"

#include <gtest/gtest.h>
#include <toml++/toml.h>

namespace pgcascade {

TEST(TomlText, AnyTextIsReadBackAsItWas) {
    for (const std::string text : {"plain", "", "a\"b\\c", "tab\tline\nend\x01\x7f", "grüße"}) {
        const toml::table table = toml::parse(toml_text(text) + " = " + toml_text(text));
        EXPECT_EQ(table.at(text).value<std::string>(), text);
    }
}

}  // namespace pgcascade
