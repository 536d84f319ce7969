#include <charconv>

#include <fmt/format.h>

#include <pgcascade/lsn.hpp>

namespace pgcascade {

std::string Lsn::to_string() const {
    return fmt::format("{:X}/{:X}", value >> 32, value & 0xFFFFFFFF);
}

static std::optional<std::uint32_t> parse_half(std::string_view digits) {
    std::uint32_t half = 0;
    if (digits.empty() || digits.size() > 8) return std::nullopt;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), half, 16);
    if (error != std::errc{} || end != digits.data() + digits.size()) return std::nullopt;
    return half;
}

std::optional<Lsn> Lsn::parse(std::string_view text) {
    const auto slash = text.find('/');
    if (slash == std::string_view::npos) return std::nullopt;
    const auto high = parse_half(text.substr(0, slash));
    const auto low = parse_half(text.substr(slash + 1));
    if (!high || !low) return std::nullopt;
    return Lsn{(std::uint64_t{*high} << 32) | *low};
}

}  // namespace pgcascade
