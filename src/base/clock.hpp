#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include <pgcascade/change.hpp>

// PostgreSQL counts microseconds since 2000-01-01 00:00 UTC (datatype/timestamp.h).

namespace pgcascade {

inline constexpr std::chrono::sys_days kPostgresEpoch{std::chrono::year{2000} / 1 / 1};

inline Timestamp from_postgres_time(std::int64_t microseconds) {
    return Timestamp{kPostgresEpoch} + std::chrono::microseconds{microseconds};
}

inline std::int64_t to_postgres_time(Timestamp time) {
    return (time - Timestamp{kPostgresEpoch}).count();
}

inline Timestamp now() {
    return std::chrono::time_point_cast<std::chrono::microseconds>(std::chrono::system_clock::now());
}

// Waiting and time-outs go by this one: it never jumps.
using SteadyTime = std::chrono::steady_clock::time_point;
inline SteadyTime steady_now() {
    return std::chrono::steady_clock::now();
}

}  // namespace pgcascade
