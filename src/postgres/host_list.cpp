#include "postgres/host_list.hpp"

#include <algorithm>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace pgcascade::postgres {

namespace {

using List = std::vector<std::string>;

List list_of(const Conninfo& conninfo, std::string_view keyword) {
    const std::string text = conninfo.get(keyword).value_or("");
    if (text.empty()) return {};
    List list(1);
    for (const char byte : text) {
        if (byte == ',')
            list.emplace_back();
        else
            list.back() += byte;
    }
    return list;
}

// What is left empty stands for a default, which only libpq knows.
bool fits(const List& list, std::size_t index, std::string_view text) {
    if (list.size() == 1) index = 0;
    return index >= list.size() || list[index].empty() || list[index] == text;
}

}  // namespace

std::optional<Conninfo> without_host(const Conninfo& conninfo, std::string_view host, std::string_view port) {
    const List hosts = list_of(conninfo, "host");
    const List addresses = list_of(conninfo, "hostaddr");
    const List ports = list_of(conninfo, "port");
    const std::size_t count = std::max(hosts.size(), addresses.size());
    if (count < 2) return std::nullopt;

    std::size_t index = 0;
    const auto is_that = [&] {
        const bool has_name = index < hosts.size() && !hosts[index].empty();
        return fits(has_name ? hosts : addresses, index, host) && fits(ports, index, port);
    };
    while (index < count && !is_that()) ++index;
    if (index == count) return std::nullopt;

    Conninfo rest = conninfo;
    bool names_one = false;  // libpq would take a list that is empty now for one that was not given
    for (const auto& [keyword, list] : {std::pair{"host", hosts}, {"hostaddr", addresses}, {"port", ports}}) {
        if (list.size() != count) continue;
        List shorter = list;
        shorter.erase(shorter.begin() + static_cast<std::ptrdiff_t>(index));
        const std::string text = fmt::format("{}", fmt::join(shorter, ","));
        names_one |= !text.empty() && keyword != std::string_view{"port"};
        rest = rest.with(keyword, text);
    }
    if (!names_one) return std::nullopt;
    return rest;
}

}  // namespace pgcascade::postgres
