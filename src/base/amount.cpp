#include "base/amount.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace pgcascade {

namespace {

struct Unit {
    std::string_view name;
    double factor;
};

constexpr Unit kBytes[] = {
    {"B", 1}, {"kB", 0x1p10}, {"MB", 0x1p20}, {"GB", 0x1p30}, {"TB", 0x1p40},
};
constexpr Unit kMilliseconds[] = {
    {"ms", 1}, {"s", 1e3}, {"min", 60e3}, {"h", 3600e3}, {"d", 86400e3},
};

template <std::size_t count>
std::optional<std::int64_t> parse_amount(std::string_view text, const Unit (&units)[count]) {
    double number = 0;
    const auto [end, error] =
        std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
    if (error != std::errc{} || !(number >= 0)) return std::nullopt;
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
    for (const Unit& unit : units) {
        if (unit.name != text) continue;
        const double amount = std::round(number * unit.factor);
        if (!(amount < 0x1p63)) return std::nullopt;
        return static_cast<std::int64_t>(amount);
    }
    return std::nullopt;
}

}  // namespace

std::optional<std::int64_t> parse_bytes(std::string_view text) {
    return parse_amount(text, kBytes);
}

std::optional<std::chrono::milliseconds> parse_duration(std::string_view text) {
    const auto amount = parse_amount(text, kMilliseconds);
    if (!amount) return std::nullopt;
    return std::chrono::milliseconds{*amount};
}

}  // namespace pgcascade
