#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string_view>

// Amounts as PostgreSQL's settings have them: a number, perhaps a decimal point, perhaps spaces, a unit in
// its own case. Source: PostgreSQL manual, "Parameter Names and Values"; guc.c, memory_unit_conversion_table.
// The other way round: base/quantity.hpp.

namespace pgcascade {

// "10GB", "512 MB", "1.5 TB": B, kB, MB, GB and TB, powers of 1024. Nothing where the text is none of these,
// negative, or more than a file can have.
std::optional<std::int64_t> parse_bytes(std::string_view text);

// "10s", "500 ms", "1.5 min": ms, s, min, h and d, to the nearest millisecond. Nothing where the text is none
// of these or negative.
std::optional<std::chrono::milliseconds> parse_duration(std::string_view text);

}  // namespace pgcascade
