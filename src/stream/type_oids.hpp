#pragma once

#include <cstdint>

// Built-in types that a format treats in a way of their own. Source: PostgreSQL, catalog/pg_type.dat.

namespace pgcascade::type_oid {

inline constexpr std::uint32_t kBool = 16;
inline constexpr std::uint32_t kBytea = 17;
inline constexpr std::uint32_t kInt8 = 20;
inline constexpr std::uint32_t kInt2 = 21;
inline constexpr std::uint32_t kInt4 = 23;
inline constexpr std::uint32_t kOid = 26;
inline constexpr std::uint32_t kJson = 114;
inline constexpr std::uint32_t kFloat4 = 700;
inline constexpr std::uint32_t kFloat8 = 701;
inline constexpr std::uint32_t kNumeric = 1700;
inline constexpr std::uint32_t kJsonb = 3802;

}  // namespace pgcascade::type_oid
