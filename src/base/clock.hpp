#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include <pgcascade/change.hpp>

// PostgreSQL counts microseconds since 2000-01-01 00:00 UTC (datatype/timestamp.h).

namespace pgcascade {

inline constexpr std::chrono::sys_days kPostgresEpoch{std::chrono::year{2000} / 1 / 1};

// Both wrap around at the ends of the range: the number comes from a peer, so it may be anything.
inline Timestamp from_postgres_time(std::int64_t microseconds) {
    const auto epoch = static_cast<std::uint64_t>(Timestamp{kPostgresEpoch}.time_since_epoch().count());
    const auto since_unix_epoch = static_cast<std::uint64_t>(microseconds) + epoch;
    return Timestamp{std::chrono::microseconds{static_cast<std::int64_t>(since_unix_epoch)}};
}

inline std::int64_t to_postgres_time(Timestamp time) {
    const auto epoch = static_cast<std::uint64_t>(Timestamp{kPostgresEpoch}.time_since_epoch().count());
    return static_cast<std::int64_t>(static_cast<std::uint64_t>(time.time_since_epoch().count()) - epoch);
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
