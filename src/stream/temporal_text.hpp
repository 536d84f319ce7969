#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

// Reads dates and times as PostgreSQL prints them with DateStyle ISO and IntervalStyle postgres. Nothing
// where the text is not in that form, infinity and -infinity included. Source: PostgreSQL,
// utils/adt/datetime.c.

namespace pgcascade {

inline constexpr std::int64_t kMicrosPerSecond = 1'000'000;
inline constexpr std::int64_t kMicrosPerDay = 86'400 * kMicrosPerSecond;

// "2024-05-01", "0044-03-15 BC": days since 1970-01-01.
std::optional<std::int64_t> parse_date(std::string_view text);

// "12:34:56.789", "24:00:00": microseconds since midnight.
std::optional<std::int64_t> parse_time(std::string_view text);

struct ZonedTime {
    std::int64_t micros = 0;          // since midnight, at the offset
    std::int64_t offset_seconds = 0;  // east of UTC
};

// "12:34:56.789+05:30".
std::optional<ZonedTime> parse_zoned_time(std::string_view text);

// "2024-05-01 12:34:56.789", with an offset as in "+02", "+05:30" or "-00:01:15" and with " BC" where they
// are: microseconds since 1970-01-01 00:00, in UTC if there is an offset.
std::optional<std::int64_t> parse_timestamp(std::string_view text);

// "1 year 2 mons -3 days +04:05:06.789": microseconds, with months of 365.25 / 12 days. What is beyond the
// range of 64 bits becomes the nearest that is not.
std::optional<std::int64_t> parse_interval(std::string_view text);

struct CivilDate {
    std::int64_t year = 1970;  // astronomical: 0 is 1 BC
    int month = 1;
    int day = 1;
};

// The inverse of parse_date.
CivilDate civil_date(std::int64_t days_since_1970);

}  // namespace pgcascade
