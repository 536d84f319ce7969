#include "stream/debezium_value.hpp"

#include <algorithm>
#include <array>

#include "stream/builtin_types.hpp"
#include "stream/row_values.hpp"
#include "stream/temporal_text.hpp"
#include "stream/type_name.hpp"

namespace pgcascade {

namespace {

constexpr std::string_view kUnavailable = "__debezium_unavailable_value";
constexpr std::uint32_t kUuidArray = 2951;
constexpr std::uint32_t kBoxArray = 1020;

// PGStatement.DATE_POSITIVE_INFINITY and DATE_NEGATIVE_INFINITY of PostgreSQL's JDBC driver.
constexpr std::int64_t kInfinity = 9'223'372'036'825'200'000;
constexpr std::int64_t kMinusInfinity = -9'223'372'036'832'400'000;

// Up to three digits after the point fit milliseconds, and the connector then counts in them.
bool fits_millis(std::int32_t modifier) {
    return modifier >= 0 && modifier <= 3;
}

DebeziumKind scalar_kind(std::uint32_t type_oid, std::int32_t modifier) {
    switch (type_oid) {
        case type_oid::kBool:
            return DebeziumKind::kBool;
        case type_oid::kInt2:
        case type_oid::kInt4:
        case type_oid::kInt8:
        case type_oid::kOid:
        case type_oid::kFloat4:
        case type_oid::kFloat8:
            return DebeziumKind::kNumber;
        case type_oid::kBytea:
            return DebeziumKind::kBytea;
        case type_oid::kBit:
        case type_oid::kVarbit:
            return modifier == 1 ? DebeziumKind::kBit : DebeziumKind::kBits;
        case type_oid::kDate:
            return DebeziumKind::kDate;
        case type_oid::kTime:
            return fits_millis(modifier) ? DebeziumKind::kTimeMillis : DebeziumKind::kTimeMicros;
        case type_oid::kTimestamp:
            return fits_millis(modifier) ? DebeziumKind::kTimestampMillis : DebeziumKind::kTimestampMicros;
        case type_oid::kTimestamptz:
            return DebeziumKind::kTimestamptz;
        case type_oid::kTimetz:
            return DebeziumKind::kTimetz;
        case type_oid::kInterval:
            return DebeziumKind::kInterval;
        default:
            return DebeziumKind::kString;
    }
}

int hex_digit(char digit) {
    if (digit >= '0' && digit <= '9') return digit - '0';
    if (digit >= 'a' && digit <= 'f') return digit - 'a' + 10;
    return -1;
}

bool is_hex(std::string_view text) {
    return text.size() % 2 == 0 && std::ranges::all_of(text, [](char c) { return hex_digit(c) >= 0; });
}

}  // namespace

DebeziumType debezium_type(const Column& column) {
    std::uint32_t oid = value_type_oid(column);
    DebeziumType type;
    if (const BuiltinType* builtin = find_builtin_type(oid)) {
        type.is_array = builtin->element_oid != 0 && oid != kBoxArray;
        if (type.is_array) oid = builtin->element_oid;
    } else {
        type.is_array = is_announced_array(column);
    }
    type.kind = scalar_kind(oid, column.type_modifier);
    if (column.type_modifier >= 0) type.fraction_digits = std::min(column.type_modifier, 6);
    return type;
}

std::string unavailable_value(const DebeziumType& type, std::uint32_t type_oid) {
    constexpr std::string_view kBase64 = "\"X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==\"";
    const std::string text = json_string(kUnavailable);
    if (!type.is_array) return std::string{type.kind == DebeziumKind::kBytea ? kBase64 : text};
    if (type_oid == kUuidArray) return "[\"b68a35a7-17ad-35b3-af2a-ae46edb4545a\"]";  // its MD5
    if (type.kind == DebeziumKind::kBytea) return '[' + std::string{kBase64} + ']';
    if (type.kind != DebeziumKind::kNumber && type.kind != DebeziumKind::kDate) return '[' + text + ']';
    std::string codes;
    for (const char c : kUnavailable)
        codes += (codes.empty() ? '[' : ',') + std::to_string(static_cast<int>(c));
    return codes + ']';
}

void DebeziumValueWriter::write(const DebeziumType& type, const Value& value) {
    if (value.is_null()) return writer_.raw("null");
    const std::string_view text = text_of(value);
    if (type.is_array)
        array(type, text);
    else
        scalar(type, text);
}

void DebeziumValueWriter::scalar(const DebeziumType& type, std::string_view text) {
    switch (type.kind) {
        case DebeziumKind::kString:
            return writer_.string(text);
        case DebeziumKind::kBool:
            return text == "t" ? writer_.raw("true") : writer_.raw("false");
        case DebeziumKind::kNumber:
            return writer_.number_or_string(text);
        case DebeziumKind::kBytea:
            return bytea(text);
        case DebeziumKind::kBit:
            return text == "1" ? writer_.raw("true") : writer_.raw("false");
        case DebeziumKind::kBits:
            return bits(text);
        case DebeziumKind::kDate:
            return integer_or_string(parse_date(text), text);
        case DebeziumKind::kTimeMillis:
            return time(text, 1000);
        case DebeziumKind::kTimeMicros:
            return time(text, 1);
        case DebeziumKind::kTimestampMillis:
            return timestamp(text, 1000);
        case DebeziumKind::kTimestampMicros:
            return timestamp(text, 1);
        case DebeziumKind::kTimestamptz:
            return timestamptz(text, type.fraction_digits);
        case DebeziumKind::kTimetz:
            return timetz(text);
        case DebeziumKind::kInterval:
            return integer_or_string(parse_interval(text), text);
    }
}

void DebeziumValueWriter::array(const DebeziumType& type, std::string_view text) {
    if (!array_.accepts(text)) return writer_.string(text);
    array_.start(text);
    for (auto token = array_.next(); token != ArrayReader::Token::kEnd; token = array_.next()) {
        switch (token) {
            case ArrayReader::Token::kOpen:
                writer_.raw("[");
                break;
            case ArrayReader::Token::kClose:
                writer_.raw("]");
                break;
            case ArrayReader::Token::kComma:
                writer_.raw(",");
                break;
            case ArrayReader::Token::kNull:
                writer_.raw("null");
                break;
            case ArrayReader::Token::kElement:
                scalar(type, array_.element());
                break;
            case ArrayReader::Token::kEnd:
            case ArrayReader::Token::kError:
                return;
        }
    }
}

// "\xdeadbeef". Another bytea_output than hex, which Debezium does not take either, stays text.
void DebeziumValueWriter::bytea(std::string_view text) {
    const std::string_view hex = text.starts_with("\\x") ? text.substr(2) : text;
    if (hex.size() == text.size() || !is_hex(hex)) return writer_.string(text);
    std::array<char, JsonWriter::kBase64Piece> piece;
    writer_.raw("\"");
    for (std::size_t at = 0; at < hex.size();) {
        std::size_t count = 0;
        for (; count < piece.size() && at < hex.size(); ++count, at += 2)
            piece[count] = static_cast<char>(hex_digit(hex[at]) << 4 | hex_digit(hex[at + 1]));
        writer_.base64_piece({piece.data(), count});
    }
    writer_.raw("\"");
}

// "10110": the last digit is bit 0 of the first byte.
void DebeziumValueWriter::bits(std::string_view text) {
    if (text.find_first_not_of("01") != std::string_view::npos) return writer_.string(text);
    std::array<char, JsonWriter::kBase64Piece> piece;
    writer_.raw("\"");
    for (std::size_t left = text.size(); left > 0;) {
        std::size_t count = 0;
        for (; count < piece.size() && left > 0; ++count) {
            int byte = 0;
            for (int bit = 0; bit < 8 && left > 0; ++bit) byte |= (text[--left] - '0') << bit;
            piece[count] = static_cast<char>(byte);
        }
        writer_.base64_piece({piece.data(), count});
    }
    writer_.raw("\"");
}

void DebeziumValueWriter::time(std::string_view text, std::int64_t micros_per_unit) {
    auto micros = parse_time(text);
    if (micros) *micros /= micros_per_unit;
    integer_or_string(micros, text);
}

void DebeziumValueWriter::timestamp(std::string_view text, std::int64_t micros_per_unit) {
    if (text == "infinity") return writer_.signed_integer(kInfinity);
    if (text == "-infinity") return writer_.signed_integer(kMinusInfinity);
    auto micros = parse_timestamp(text);
    if (micros) *micros /= micros_per_unit;  // exact: the column has no more digits
    integer_or_string(micros, text);
}

void DebeziumValueWriter::timestamptz(std::string_view text, int fraction_digits) {
    const auto micros = parse_timestamp(text);
    if (!micros) return writer_.string(text);
    std::int64_t day = *micros / kMicrosPerDay;
    std::int64_t of_day = *micros % kMicrosPerDay;
    if (of_day < 0) {
        of_day += kMicrosPerDay;
        --day;
    }
    const CivilDate date = civil_date(day);
    writer_.raw(date.year > 9999 ? "\"+" : date.year < 0 ? "\"-" : "\"");
    const auto year = static_cast<std::uint64_t>(std::abs(date.year));
    writer_.padded_integer(year, year > 99'999 ? 6 : year > 9999 ? 5 : 4);
    writer_.raw("-");
    writer_.padded_integer(static_cast<std::uint64_t>(date.month), 2);
    writer_.raw("-");
    writer_.padded_integer(static_cast<std::uint64_t>(date.day), 2);
    writer_.raw("T");
    clock(of_day, fraction_digits);
    writer_.raw("Z\"");
}

// In UTC, where the day is lost; 24:00:00 stays what it is.
void DebeziumValueWriter::timetz(std::string_view text) {
    const auto time = parse_zoned_time(text);
    if (!time) return writer_.string(text);
    std::int64_t micros = time->micros;
    if (time->offset_seconds != 0) {
        micros = (micros - time->offset_seconds * kMicrosPerSecond) % kMicrosPerDay;
        if (micros < 0) micros += kMicrosPerDay;
    }
    int digits = 6;
    for (std::int64_t rest = micros % kMicrosPerSecond; digits > 0 && rest % 10 == 0; rest /= 10) --digits;
    writer_.raw("\"");
    clock(micros, digits);
    writer_.raw("Z\"");
}

// "10:34:56.123", with as many digits after the point as asked for.
void DebeziumValueWriter::clock(std::int64_t micros, int fraction_digits) {
    const auto seconds = static_cast<std::uint64_t>(micros / kMicrosPerSecond);
    writer_.padded_integer(seconds / 3600, 2);
    writer_.raw(":");
    writer_.padded_integer(seconds / 60 % 60, 2);
    writer_.raw(":");
    writer_.padded_integer(seconds % 60, 2);
    if (fraction_digits == 0) return;
    auto fraction = static_cast<std::uint64_t>(micros % kMicrosPerSecond);
    for (int cut = fraction_digits; cut < 6; ++cut) fraction /= 10;
    writer_.raw(".");
    writer_.padded_integer(fraction, fraction_digits);
}

void DebeziumValueWriter::integer_or_string(std::optional<std::int64_t> number, std::string_view text) {
    if (number)
        writer_.signed_integer(*number);
    else
        writer_.string(text);
}

}  // namespace pgcascade
