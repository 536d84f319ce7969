#include "stream/row_values.hpp"

#include <fmt/format.h>

#include <pgcascade/error.hpp>

namespace pgcascade {

std::span<const Value> values_of(const Row& row, std::size_t columns) {
    if (row.size() == columns) return row.values();
    throw Error{
        fmt::format("a row of {} values does not fit its relation of {} columns", row.size(), columns)};
}

std::string_view text_of(const Value& value) {
    if (value.state() == Value::State::kText) return value.bytes();
    throw Error{"a value came in PostgreSQL's binary form, which has no place in an output format",
                "stream without the option binary"};
}

}  // namespace pgcascade
