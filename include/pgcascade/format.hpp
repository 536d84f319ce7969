#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <pgcascade/change.hpp>

// Changes as lines of JSON, in one of three formats. docs/formats.md shows each, with its table of types.

namespace pgcascade {

enum class Format : std::uint8_t {
    kJson,      // pgcascade's own: flat, keys in a fixed order, no number that JavaScript would corrupt
    kWal2Json,  // as the plugin wal2json prints with format-version 2
    kDebezium,  // the payload of Debezium's PostgreSQL connector (schemas.enable=false)
};

// "json", "wal2json", "debezium".
std::string_view to_string(Format format);
std::optional<Format> parse_format(std::string_view name);

struct FormatOptions {
    Format format = Format::kJson;

    // json and wal2json: a line for each begin and commit. Unset: as the format is used to, which is no in
    // json and yes in wal2json.
    std::optional<bool> transactions;
};

// Turns changes into bytes. Owned and called by one thread; one formatter serves one stream (what it prepares
// for a relation is found again by Relation::oid and Relation::generation).
class Formatter {
  public:
    virtual ~Formatter() = default;

    // Appends zero or more whole lines, each one JSON object in valid UTF-8 and ended by '\n'. Apart from the
    // growth of `out` nothing is allocated once the change's relation is known. Throws Error for a value in
    // binary form; after an exception, what lies beyond the former end of `out` means nothing.
    virtual void write(const Change& change, std::string& out) = 0;
};

std::unique_ptr<Formatter> make_formatter(FormatOptions options);

}  // namespace pgcascade
