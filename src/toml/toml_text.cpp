#include "toml/toml_text.hpp"

#include <fmt/format.h>

namespace pgcascade {

std::string toml_text(std::string_view text) {
    constexpr unsigned char kFirstPrintable = 0x20;
    constexpr unsigned char kDelete = 0x7f;
    std::string quoted{'"'};
    for (const char letter : text) {
        const auto byte = static_cast<unsigned char>(letter);
        if (letter == '"' || letter == '\\') quoted += '\\';
        if (byte < kFirstPrintable || byte == kDelete)
            quoted += fmt::format("\\u{:04x}", byte);
        else
            quoted += letter;
    }
    return quoted + '"';
}

}  // namespace pgcascade
