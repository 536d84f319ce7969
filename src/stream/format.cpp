#include <array>
#include <utility>

#include <pgcascade/error.hpp>
#include <pgcascade/format.hpp>

#include "stream/formatters.hpp"

namespace pgcascade {

namespace {

constexpr std::array<std::pair<Format, std::string_view>, 3> kNames{{
    {Format::kJson, "json"},
    {Format::kWal2Json, "wal2json"},
    {Format::kDebezium, "debezium"},
}};

}  // namespace

std::string_view to_string(Format format) {
    for (const auto& [value, name] : kNames)
        if (value == format) return name;
    throw Error{"there is no output format number " + std::to_string(static_cast<int>(format))};
}

std::optional<Format> parse_format(std::string_view name) {
    for (const auto& [value, text] : kNames)
        if (text == name) return value;
    return std::nullopt;
}

std::unique_ptr<Formatter> make_formatter(const FormatOptions& options) {
    switch (options.format) {
        case Format::kJson:
            return make_json_formatter(options);
        case Format::kWal2Json:
            return make_wal2json_formatter(options);
        case Format::kDebezium:
            return make_debezium_formatter(options);
    }
    throw Error{"there is no output format number " + std::to_string(static_cast<int>(options.format))};
}

}  // namespace pgcascade
