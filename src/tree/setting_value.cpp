#include "tree/setting_value.hpp"

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <vector>

namespace pgcascade::tree {

namespace {

struct Unit {
    std::string_view name;
    bool is_time;
    double factor;  // to bytes, or to microseconds
};

// Case matters, as for the server.
constexpr Unit kUnits[] = {
    {"B", false, 1},
    {"kB", false, 1024.0},
    {"MB", false, 1024.0 * 1024},
    {"GB", false, 1024.0 * 1024 * 1024},
    {"TB", false, 1024.0 * 1024 * 1024 * 1024},
    {"us", true, 1},
    {"ms", true, 1e3},
    {"s", true, 1e6},
    {"min", true, 60e6},
    {"h", true, 3600e6},
    {"d", true, 86400e6},
};

const Unit* find_unit(std::string_view name) {
    for (const Unit& unit : kUnits)
        if (unit.name == name) return &unit;
    return nullptr;
}

std::string_view trimmed(std::string_view text) {
    while (!text.empty() && std::isspace(static_cast<unsigned char>(text.front())) != 0)
        text.remove_prefix(1);
    while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back())) != 0) text.remove_suffix(1);
    return text;
}

std::string lower_case(std::string_view text) {
    std::string lower{text};
    for (char& letter : lower) letter = static_cast<char>(std::tolower(static_cast<unsigned char>(letter)));
    return lower;
}

// A number with what stands behind it.
struct Amount {
    double number = 0;
    std::string_view rest;
};

std::optional<Amount> read_amount(std::string_view text) {
    const std::string copy{trimmed(text)};
    char* end = nullptr;
    errno = 0;
    double number = static_cast<double>(std::strtoll(copy.c_str(), &end, 0));  // 0x10 and 010 are numbers too
    if (*end == '.' || *end == 'e' || *end == 'E' || errno == ERANGE) {
        errno = 0;
        number = std::strtod(copy.c_str(), &end);
    }
    if (end == copy.c_str() || errno == ERANGE || !std::isfinite(number)) return std::nullopt;
    const auto used = static_cast<std::size_t>(end - copy.c_str());
    return Amount{number, trimmed(trimmed(text).substr(used))};
}

// pg_settings.unit can be a multiple: "8kB".
std::optional<Unit> base_unit(std::string_view text) {
    const auto digits = std::min(text.find_first_not_of("0123456789"), text.size());
    const Unit* unit = find_unit(text.substr(digits));
    if (unit == nullptr) return std::nullopt;
    const double multiple =
        digits == 0 ? 1 : std::strtod(std::string{text.substr(0, digits)}.c_str(), nullptr);
    return Unit{unit->name, unit->is_time, unit->factor * multiple};
}

// Any beginning of the words that leaves no doubt.
std::optional<bool> parse_boolean(std::string_view text) {
    const std::string word = lower_case(trimmed(text));
    const auto begins = [&](std::string_view whole, std::size_t at_least) {
        return word.size() >= at_least && whole.starts_with(word);
    };
    if (word == "1" || begins("true", 1) || begins("yes", 1) || begins("on", 2)) return true;
    if (word == "0" || begins("false", 1) || begins("no", 1) || begins("off", 2)) return false;
    return std::nullopt;
}

std::vector<std::string> list_words(std::string_view text) {
    std::vector<std::string> words;
    while (!trimmed(text).empty()) {
        text = trimmed(text);
        std::string word;
        if (text.front() == '"') {
            std::size_t at = 1;
            for (; at < text.size(); ++at) {
                if (text[at] == '"' && (at + 1 == text.size() || text[at + 1] != '"')) break;
                if (text[at] == '"') ++at;
                word += text[at];
            }
            text.remove_prefix(std::min(at + 1, text.size()));
        }
        const auto comma = std::min(text.find(','), text.size());
        word += trimmed(text.substr(0, comma));
        words.push_back(word);
        text.remove_prefix(std::min(comma + 1, text.size()));
    }
    return words;
}

bool same_number(std::string_view left, std::string_view right, const Setting& setting) {
    const auto one = parse_number(left, setting.unit);
    const auto other = parse_number(right, setting.unit);
    if (!one || !other) return trimmed(left) == trimmed(right);
    if (setting.type == "integer") return std::rint(*one) == std::rint(*other);
    return std::abs(*one - *other) <= 1e-9 * std::max(std::abs(*one), std::abs(*other));
}

std::string literal(std::string_view text) {
    std::string quoted{'\''};
    for (const char letter : text) {
        if (letter == '\'') quoted += '\'';
        quoted += letter;
    }
    quoted += '\'';
    // With standard_conforming_strings, a backslash is itself.
    return quoted;
}

}  // namespace

std::optional<double> parse_number(std::string_view text, std::string_view unit) {
    const auto amount = read_amount(text);
    if (!amount) return std::nullopt;
    if (amount->rest.empty()) return amount->number;
    const auto base = base_unit(unit);
    const Unit* given = find_unit(amount->rest);
    if (!base || given == nullptr || given->is_time != base->is_time) return std::nullopt;
    return amount->number * given->factor / base->factor;
}

bool same_value(std::string_view left, std::string_view right, const Setting& setting) {
    if (left == right) return true;
    if (setting.type == "integer" || setting.type == "real") return same_number(left, right, setting);
    if (setting.type == "bool" || setting.type == "enum") {
        // Enumerations that were booleans once still take on and off by all their names.
        const auto one = parse_boolean(left);
        const auto other = parse_boolean(right);
        if (one && other) return *one == *other;
        return lower_case(trimmed(left)) == lower_case(trimmed(right));
    }
    // Free text; where it is a list, the blanks and quotes around its words mean nothing.
    return list_words(left) == list_words(right);
}

bool is_quoted_list(std::string_view name) {
    // No extension can add to these (variable_is_guc_list_quote, fe_utils/dumputils.c).
    for (const std::string_view list :
         {"local_preload_libraries", "search_path", "session_preload_libraries", "shared_preload_libraries",
          "temp_tablespaces", "unix_socket_directories"})
        if (name == list) return true;
    return false;
}

std::string alter_system_value(std::string_view name, std::string_view value) {
    if (!is_quoted_list(name)) return literal(value);
    std::string text;
    for (const std::string& word : list_words(value)) text += (text.empty() ? "" : ", ") + literal(word);
    return text.empty() ? "''" : text;
}

}  // namespace pgcascade::tree
