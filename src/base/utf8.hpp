#pragma once

// UTF-8 as bytes that may be anything.

namespace pgcascade {

inline bool is_utf8_continuation(char byte) {
    return (static_cast<unsigned char>(byte) & 0xC0) == 0x80;
}

// Length of the well-formed multibyte character at `from`, 0 where there is none (no surrogates, nothing
// above U+10FFFF, no overlong form). Source: Unicode 15, table 3-7.
inline int multibyte_length(const char* from, const char* end) {
    const auto lead = static_cast<unsigned char>(*from);
    const auto left = end - from;
    if (lead >= 0xC2 && lead <= 0xDF) return left >= 2 && is_utf8_continuation(from[1]) ? 2 : 0;
    if (left < 3 || !is_utf8_continuation(from[1]) || !is_utf8_continuation(from[2])) return 0;
    const auto second = static_cast<unsigned char>(from[1]);
    if ((lead & 0xF0) == 0xE0) {
        const bool overlong = lead == 0xE0 && second < 0xA0;
        const bool surrogate = lead == 0xED && second > 0x9F;
        return overlong || surrogate ? 0 : 3;
    }
    if (lead < 0xF0 || lead > 0xF4 || left < 4 || !is_utf8_continuation(from[3])) return 0;
    const bool overlong = lead == 0xF0 && second < 0x90;
    const bool too_large = lead == 0xF4 && second > 0x8F;
    return overlong || too_large ? 0 : 4;
}

// What stands for bytes that are no character: U+FFFD.
inline constexpr const char* kReplacementCharacter = "\xEF\xBF\xBD";

}  // namespace pgcascade
