#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace pgcascade {

// A position in the write-ahead log: a byte offset since the start of the cluster's history.
// Source: PostgreSQL, access/xlogdefs.h and the pg_lsn type.
struct Lsn {
    std::uint64_t value = 0;

    constexpr auto operator<=>(const Lsn&) const = default;
    constexpr explicit operator bool() const { return value != 0; }  // 0/0 is "no position"

    // "16/B374D848", as PostgreSQL prints it.
    std::string to_string() const;

    // Reads PostgreSQL's form; nothing where the text is not exactly one LSN.
    static std::optional<Lsn> parse(std::string_view text);
};

// Bytes of WAL from `from` to `to`; negative where `to` lies behind.
constexpr std::int64_t distance(Lsn from, Lsn to) {
    return static_cast<std::int64_t>(to.value - from.value);
}

struct TimelineId {
    std::uint32_t value = 0;

    constexpr auto operator<=>(const TimelineId&) const = default;
};

}  // namespace pgcascade
