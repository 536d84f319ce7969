#include "relay/listen_address.hpp"

#include <algorithm>
#include <cctype>
#include <charconv>

#include <fmt/format.h>

#include "relay/address.hpp"

namespace pgcascade::relay {

namespace {

std::optional<std::uint16_t> parse_port(std::string_view text) {
    std::uint16_t port = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
    if (error != std::errc{} || end != text.data() + text.size() || port == 0) return std::nullopt;
    return port;
}

// A misspelt address, 10.0.0.300, is no name.
bool is_host_name(std::string_view text) {
    if (text.find_first_not_of("0123456789.") == std::string_view::npos) return false;
    return std::all_of(text.begin(), text.end(), [](char letter) {
        return std::isalnum(static_cast<unsigned char>(letter)) != 0 || letter == '-' || letter == '.' ||
               letter == '_';
    });
}

}  // namespace

std::optional<ListenAddress> parse_tcp_address(std::string_view text) {
    const std::size_t colon = text.rfind(':');
    if (colon == std::string_view::npos) return std::nullopt;
    const auto port = parse_port(text.substr(colon + 1));
    if (!port) return std::nullopt;

    std::string_view host = text.substr(0, colon);
    const bool has_brackets = host.size() > 2 && host.front() == '[' && host.back() == ']';
    if (has_brackets) host = host.substr(1, host.size() - 2);
    // Spelt in one way, so that the same address twice is seen.
    if (const auto address = Address::parse(host)) {
        if (has_brackets != (host.find(':') != std::string_view::npos)) return std::nullopt;
        return ListenAddress{.host = address->to_string(), .port = *port};
    }
    if (has_brackets || !is_host_name(host)) return std::nullopt;
    ListenAddress named{.host = std::string{host}, .port = *port};
    for (char& letter : named.host)
        letter = static_cast<char>(std::tolower(static_cast<unsigned char>(letter)));
    return named;
}

std::filesystem::path ListenAddress::socket() const {
    return directory / fmt::format(".s.PGSQL.{}", port);
}

std::string ListenAddress::to_string() const {
    if (is_local()) return fmt::format("{} (port {})", directory.string(), port);
    return host.find(':') == std::string::npos ? fmt::format("{}:{}", host, port)
                                               : fmt::format("[{}]:{}", host, port);
}

}  // namespace pgcascade::relay
