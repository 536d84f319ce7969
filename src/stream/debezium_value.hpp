#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <pgcascade/change.hpp>

#include "stream/array_text.hpp"
#include "stream/json_writer.hpp"

// The values of a row as Debezium's PostgreSQL connector prints them without schemas, with
// time.precision.mode=adaptive, decimal.handling.mode=string, interval.handling.mode=numeric and
// binary.handling.mode=bytes. docs/formats.md has the table.

namespace pgcascade {

enum class DebeziumKind : std::uint8_t {
    kString,
    kBool,
    kNumber,
    kBytea,            // base64
    kBit,              // bit(1): true or false
    kBits,             // base64 of the bits in little-endian order
    kDate,             // days since 1970-01-01
    kTimeMillis,       // since midnight
    kTimeMicros,       // since midnight
    kTimestampMillis,  // since 1970-01-01
    kTimestampMicros,  // since 1970-01-01
    kTimestamptz,      // "2024-05-01T10:34:56.123456Z"
    kTimetz,           // "10:34:56.5Z"
    kInterval,         // microseconds
};

struct DebeziumType {
    DebeziumKind kind = DebeziumKind::kString;
    int fraction_digits = 6;  // that a kTimestamptz is printed with
    bool is_array = false;    // an array of `kind`
};

DebeziumType debezium_type(const Column& column);

// JSON that stands for a TOASTed value of the type that the server did not send.
std::string unavailable_value(const DebeziumType& type, std::uint32_t type_oid);

class DebeziumValueWriter {
  public:
    explicit DebeziumValueWriter(JsonWriter& writer) : writer_(writer) {}

    // Null is "null". Text that is not in the form the type should have is printed as a string. Throws Error
    // for unchanged and binary values.
    void write(const DebeziumType& type, const Value& value);

  private:
    void scalar(const DebeziumType& type, std::string_view text);
    void array(const DebeziumType& type, std::string_view text);
    void bytea(std::string_view text);
    void bits(std::string_view text);
    void time(std::string_view text, std::int64_t micros_per_unit);
    void timestamp(std::string_view text, std::int64_t micros_per_unit);
    void timestamptz(std::string_view text, int fraction_digits);
    void timetz(std::string_view text);
    void clock(std::int64_t micros, int fraction_digits);
    void integer_or_string(std::optional<std::int64_t> number, std::string_view text);

    JsonWriter& writer_;
    ArrayReader array_;
};

}  // namespace pgcascade
