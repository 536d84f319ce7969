#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// libpq's connection string, taken apart.
// Source: PostgreSQL manual, "Connection Strings"; PQconninfoParse.

namespace pgcascade::postgres {

class Conninfo {
  public:
    Conninfo() = default;

    // Takes the keyword=value form and URIs; a word without "=" is a database name, as psql has it. Throws
    // ConfigError with libpq's reason.
    static Conninfo parse(std::string_view text);

    // Null where the string does not say; libpq's defaults and environment are not looked at.
    std::optional<std::string> get(std::string_view keyword) const;

    Conninfo with(std::string_view keyword, std::string_view value) const;
    Conninfo with_default(std::string_view keyword, std::string_view value) const;  // keeps what is there
    Conninfo without(std::string_view keyword) const;

    // keyword=value pairs, quoted as libpq reads them.
    std::string to_string() const;

    // For messages: no password in it.
    std::string redacted() const;

    const std::vector<std::pair<std::string, std::string>>& pairs() const { return pairs_; }

  private:
    std::vector<std::pair<std::string, std::string>> pairs_;
};

}  // namespace pgcascade::postgres
