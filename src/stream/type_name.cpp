#include "stream/type_name.hpp"

#include <algorithm>
#include <array>
#include <string_view>

#include <fmt/format.h>

#include "stream/builtin_types.hpp"

namespace pgcascade {

namespace {

constexpr std::int32_t kHeaderBytes = 4;  // VARHDRSZ, which some modifiers count in

std::string quoted_identifier(std::string_view name) {
    const auto is_safe = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_'; };
    const bool starts_safe = !name.empty() && !(name[0] >= '0' && name[0] <= '9');
    if (starts_safe && std::ranges::all_of(name, is_safe)) return std::string{name};
    std::string quoted = "\"";
    for (const char c : name) quoted.append(c == '"' ? 2 : 1, c);
    return quoted + '"';
}

// The upper half says which fields the interval has, the lower half how many digits its seconds have.
// Source: PostgreSQL, utils/timestamp.h and intervaltypmodout().
std::string interval_modifier(std::int32_t modifier) {
    constexpr std::uint32_t kMonth = 1 << 1, kYear = 1 << 2, kDay = 1 << 3, kHour = 1 << 10,
                            kMinute = 1 << 11, kSecond = 1 << 12, kAllFields = 0x7FFF, kAllDigits = 0xFFFF;
    struct Fields {
        std::uint32_t mask;
        std::string_view text;
    };
    static constexpr std::array kFields = std::to_array<Fields>({
        {kYear, " year"},
        {kMonth, " month"},
        {kDay, " day"},
        {kHour, " hour"},
        {kMinute, " minute"},
        {kSecond, " second"},
        {kYear | kMonth, " year to month"},
        {kDay | kHour, " day to hour"},
        {kDay | kHour | kMinute, " day to minute"},
        {kDay | kHour | kMinute | kSecond, " day to second"},
        {kHour | kMinute, " hour to minute"},
        {kHour | kMinute | kSecond, " hour to second"},
        {kMinute | kSecond, " minute to second"},
        {kAllFields, ""},
    });
    const auto bits = static_cast<std::uint32_t>(modifier);
    const auto* fields = std::ranges::find(kFields, (bits >> 16) & kAllFields, &Fields::mask);
    const std::string_view text = fields == kFields.end() ? "" : fields->text;
    const std::uint32_t digits = bits & kAllDigits;
    return digits == kAllDigits ? std::string{text} : fmt::format("{}({})", text, digits);
}

// Source: PostgreSQL, utils/adt/numeric.c: ten bits of precision above eleven of a signed scale.
std::string numeric_modifier(std::int32_t modifier) {
    const std::int32_t bits = modifier - kHeaderBytes;
    return fmt::format("({},{})", (bits >> 16) & 0xFFFF, ((bits & 0x7FF) ^ 1024) - 1024);
}

std::string builtin_name(const BuiltinType& type, std::int32_t modifier) {
    const bool modified = modifier >= 0;
    switch (type.oid) {
        // Without a modifier these two are not what the SQL names character and bit stand for.
        case type_oid::kBpchar:
            return modified ? fmt::format("character({})", modifier - kHeaderBytes) : "bpchar";
        case type_oid::kBit:
            return modified ? fmt::format("bit({})", modifier) : "\"bit\"";
        default:
            break;
    }
    if (!modified) return std::string{type.sql_name};
    switch (type.oid) {
        case type_oid::kVarchar:
            return fmt::format("character varying({})", modifier - kHeaderBytes);
        case type_oid::kVarbit:
            return fmt::format("bit varying({})", modifier);
        case type_oid::kNumeric:
            return "numeric" + numeric_modifier(modifier);
        case type_oid::kInterval:
            return "interval" + interval_modifier(modifier);
        case type_oid::kTime:
            return fmt::format("time({}) without time zone", modifier);
        case type_oid::kTimetz:
            return fmt::format("time({}) with time zone", modifier);
        case type_oid::kTimestamp:
            return fmt::format("timestamp({}) without time zone", modifier);
        case type_oid::kTimestamptz:
            return fmt::format("timestamp({}) with time zone", modifier);
        default:
            return std::string{type.sql_name};
    }
}

std::string builtin_or_array_name(const BuiltinType& type, std::int32_t modifier) {
    if (type.element_oid == 0) return builtin_name(type, modifier);
    const BuiltinType* element = find_builtin_type(type.element_oid);
    return builtin_name(*element, modifier) + "[]";
}

bool is_in_catalog(const Column& column) {
    return column.type_schema == "pg_catalog";
}

// Of a type that pgoutput announced. PostgreSQL names the array type of t _t; nothing else tells arrays
// apart.
std::string announced_name(const Column& column) {
    std::string_view name = column.type_name;
    const bool is_array = name.size() > 1 && name[0] == '_';
    if (is_array) name.remove_prefix(1);
    return quoted_identifier(column.type_schema) + '.' + quoted_identifier(name) + (is_array ? "[]" : "");
}

}  // namespace

std::string sql_type_name(const Column& column) {
    if (const BuiltinType* type = find_builtin_type(value_type_oid(column)))
        return builtin_or_array_name(*type, column.type_modifier);
    if (column.type_name.empty()) return fmt::format("type {}", column.type_oid);
    return announced_name(column);
}

bool is_announced_array(const Column& column) {
    return column.type_name.size() > 1 && column.type_name[0] == '_';
}

// pgoutput announces a domain under its own OID with the schema and the name of its base type.
std::uint32_t value_type_oid(const Column& column) {
    if (!is_in_catalog(column)) return column.type_oid;
    const BuiltinType* base = find_builtin_type(column.type_name);
    return base == nullptr ? column.type_oid : base->oid;
}

}  // namespace pgcascade
