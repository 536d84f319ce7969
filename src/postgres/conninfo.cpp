#include "postgres/conninfo.hpp"

#include <algorithm>
#include <memory>

#include <libpq-fe.h>

#include <pgcascade/error.hpp>

namespace pgcascade::postgres {

[[noreturn]] static void refuse(std::string why) {
    while (!why.empty() && why.back() == '\n') why.pop_back();
    throw ConfigError("can't read the connection string" + (why.empty() ? "" : ": " + why),
                      "write it as \"host=… port=… dbname=…\", a value with spaces in '…'; or as "
                      "postgresql://user@host:port/dbname, with @, / and % in a name or password as %40, %2F "
                      "and %25");
}

Conninfo Conninfo::parse(std::string_view text) {
    std::string whole{text};
    const bool is_uri = whole.starts_with("postgresql://") || whole.starts_with("postgres://");
    Conninfo conninfo;
    if (!is_uri && whole.find('=') == std::string::npos) {
        if (!whole.empty()) conninfo.pairs_.emplace_back("dbname", whole);
        return conninfo;
    }
    char* reason = nullptr;
    const std::unique_ptr<PQconninfoOption, decltype(&PQconninfoFree)> options{
        PQconninfoParse(whole.c_str(), &reason), PQconninfoFree};
    const std::unique_ptr<char, decltype(&PQfreemem)> owned_reason{reason, PQfreemem};
    if (!options) {
        // libpq quotes what it could not read: where there is a password, that may be a part of it.
        const bool has_secret =
            whole.find("password") != std::string::npos || (is_uri && whole.find('@') != std::string::npos);
        refuse(has_secret || reason == nullptr ? "" : reason);
    }
    for (const PQconninfoOption* option = options.get(); option->keyword != nullptr; ++option) {
        if (option->val == nullptr) continue;
        const std::string_view value{option->val};
        // What follows an @ in the password of a URI lands here; an abstract socket begins with one.
        if (is_uri && value.find('@', 1) != value.npos &&
            (option->keyword == std::string_view{"host"} || option->keyword == std::string_view{"port"}))
            refuse("");
        conninfo.pairs_.emplace_back(option->keyword, value);
    }
    return conninfo;
}

std::optional<std::string> Conninfo::get(std::string_view keyword) const {
    for (const auto& [key, value] : pairs_)
        if (key == keyword) return value;
    return std::nullopt;
}

Conninfo Conninfo::with(std::string_view keyword, std::string_view value) const {
    Conninfo changed = without(keyword);
    changed.pairs_.emplace_back(keyword, value);
    return changed;
}

Conninfo Conninfo::with_default(std::string_view keyword, std::string_view value) const {
    return get(keyword) ? *this : with(keyword, value);
}

Conninfo Conninfo::without(std::string_view keyword) const {
    Conninfo changed = *this;
    std::erase_if(changed.pairs_, [&](const auto& pair) { return pair.first == keyword; });
    return changed;
}

static std::string quoted(std::string_view value) {
    const bool plain = !value.empty() && value.find_first_of(" '\\\t\n") == std::string_view::npos;
    if (plain) return std::string{value};
    std::string text{'\''};
    for (const char byte : value) {
        if (byte == '\'' || byte == '\\') text += '\\';
        text += byte;
    }
    return text + '\'';
}

std::string Conninfo::to_string() const {
    std::string text;
    for (const auto& [key, value] : pairs_) text += (text.empty() ? "" : " ") + key + "=" + quoted(value);
    return text;
}

std::string Conninfo::redacted() const {
    return without("password").without("sslpassword").to_string();
}

}  // namespace pgcascade::postgres
