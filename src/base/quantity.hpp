#pragma once

#include <chrono>
#include <cstdint>
#include <string>

// Amounts as people read them.

namespace pgcascade {

// "812 B", "16 MB", "1.5 GB": powers of 1024, at most one decimal, as PostgreSQL's pg_size_pretty has the
// units.
std::string format_bytes(std::int64_t bytes);

// The largest unit and the next: "3 d 4 h", "12 min 5 s", "800 ms".
std::string format_duration(std::chrono::milliseconds duration);

}  // namespace pgcascade
