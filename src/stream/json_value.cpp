#include "stream/json_value.hpp"

#include "stream/builtin_types.hpp"
#include "stream/row_values.hpp"
#include "stream/type_name.hpp"

namespace pgcascade {

namespace {

// Number.MAX_SAFE_INTEGER: beyond it JavaScript, jq and others that read numbers as doubles change digits.
constexpr std::string_view kMaxSafeInteger = "9007199254740991";

bool is_safe_integer(std::string_view text) {
    if (text.starts_with('-')) text.remove_prefix(1);
    if (text.size() != kMaxSafeInteger.size()) return text.size() < kMaxSafeInteger.size();
    return text <= kMaxSafeInteger;
}

}  // namespace

JsonKind json_kind(const Column& column) {
    switch (value_type_oid(column)) {
        case type_oid::kBool:
            return JsonKind::kBool;
        case type_oid::kInt2:
        case type_oid::kInt4:
        case type_oid::kOid:
        case type_oid::kFloat4:
        case type_oid::kFloat8:
            return JsonKind::kNumber;
        case type_oid::kInt8:
            return JsonKind::kInt8;
        case type_oid::kJson:
        case type_oid::kJsonb:
            return JsonKind::kJson;
        default:
            return JsonKind::kString;
    }
}

void write_json_value(JsonWriter& writer, JsonKind kind, const Value& value) {
    if (value.is_null()) return writer.raw("null");
    const std::string_view text = text_of(value);
    switch (kind) {
        case JsonKind::kString:
            return writer.string(text);
        case JsonKind::kBool:
            if (text == "t") return writer.raw("true");
            if (text == "f") return writer.raw("false");
            return writer.string(text);
        case JsonKind::kNumber:
            return writer.number_or_string(text);
        case JsonKind::kInt8:
            return is_safe_integer(text) ? writer.number_or_string(text) : writer.string(text);
        case JsonKind::kJson:
            return text.empty() ? writer.string(text) : writer.embedded(text);
    }
}

}  // namespace pgcascade
