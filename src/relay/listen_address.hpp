#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace pgcascade::relay {

// Where clients connect: a TCP address, or a Unix socket where there is a directory.
struct ListenAddress {
    std::string host = {};  // a name in lower case, or an address; IPv6 without its brackets
    std::uint16_t port = 0;
    std::filesystem::path directory = {};  // the socket in it is .s.PGSQL.<port>, as libpq looks for it

    bool is_local() const { return !directory.empty(); }
    std::filesystem::path socket() const;  // where is_local()
    std::string to_string() const;         // "10.0.0.1:6432", "[::1]:6432", "/run/relay (port 6432)"

    bool operator==(const ListenAddress&) const = default;
};

// "host:port" or "[address]:port"; nothing where the text is neither. An IPv6 address needs the brackets.
std::optional<ListenAddress> parse_tcp_address(std::string_view text);

}  // namespace pgcascade::relay
