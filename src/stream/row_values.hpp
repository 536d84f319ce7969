#pragma once

#include <cstddef>
#include <span>
#include <string_view>

#include <pgcascade/change.hpp>

namespace pgcascade {

// The values of a row, as many as the formatter has prepared columns for. Throws Error for another count,
// which a decoder's row never has, so that a relation changed behind a generation can't lead a formatter
// astray.
std::span<const Value> values_of(const Row& row, std::size_t columns);

// The text of a value that is there. Throws Error where the server sent it in binary form.
std::string_view text_of(const Value& value);

}  // namespace pgcascade
