#pragma once

#include <cstdint>

#include <pgcascade/change.hpp>

#include "stream/json_writer.hpp"

namespace pgcascade {

// How the format `json` prints the text of a type. docs/formats.md has the table.
enum class JsonKind : std::uint8_t {
    kString,
    kBool,
    kNumber,  // fits a double, but for NaN and the infinities, which are printed as strings
    kInt8,    // a number up to 2^53 - 1 in magnitude, beyond it a string
    kJson,
};

JsonKind json_kind(const Column& column);

// Null is "null". Throws Error for unchanged and binary values.
void write_json_value(JsonWriter& writer, JsonKind kind, const Value& value);

}  // namespace pgcascade
