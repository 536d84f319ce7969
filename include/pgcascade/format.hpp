#pragma once

#include <cstdint>
#include <functional>
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

// Named after the plugin's options, with its defaults.
struct Wal2JsonOptions {
    bool include_xids = false;
    bool include_timestamp = false;  // in UTC, where the plugin prints the server's time zone
    bool include_lsn = false;        // of a begin without "nextlsn", which pgoutput tells at the commit only

    // The name of a type as the server's format_type(oid, modifier) prints it, empty where it knows none.
    // Asked once per column and type. Null: made from the built-in types and what pgoutput announces; then a
    // domain appears as its base type, and the type of an extension without its modifier.
    std::function<std::string(std::uint32_t type_oid, std::int32_t type_modifier)> format_type = nullptr;
};

// For the "source" of each event.
struct DebeziumOptions {
    std::string server_name = "pgcascade";  // "name", Debezium's topic.prefix
    std::string database = "";              // "db"
    std::string version = "pgcascade";      // "version", where Debezium prints its own
};

struct FormatOptions {
    Format format = Format::kJson;

    // json and wal2json: a line for each begin and commit. Unset: as the format is used to, which is no in
    // json and yes in wal2json.
    std::optional<bool> transactions = std::nullopt;

    Wal2JsonOptions wal2json = {};
    DebeziumOptions debezium = {};
};

// Turns changes into bytes. Owned and called by one thread; one formatter serves one stream (what it prepares
// for a relation is found again by Relation::oid and Relation::generation).
class Formatter {
  public:
    virtual ~Formatter() = default;

    // Appends zero or more whole lines, each one JSON object in valid UTF-8 and ended by '\n'. Apart from the
    // growth of `out` nothing is allocated once the change's relation is known. Throws Error for a value in
    // binary form, and what format_type throws; after an exception, what lies beyond the former end of `out`
    // means nothing.
    virtual void write(const Change& change, std::string& out) = 0;
};

std::unique_ptr<Formatter> make_formatter(const FormatOptions& options);

}  // namespace pgcascade
