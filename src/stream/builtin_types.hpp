#pragma once

#include <cstdint>
#include <string_view>

// The types whose OIDs are the same in every PostgreSQL database. Source: PostgreSQL, catalog/pg_type.dat.

namespace pgcascade {

struct BuiltinType {
    std::uint32_t oid = 0;
    std::string_view name;          // pg_type.typname: int4, _int4
    std::string_view sql_name;      // as format_type() prints it without a modifier; empty for arrays
    std::uint32_t element_oid = 0;  // of arrays, else 0
};

// Null where there is none.
const BuiltinType* find_builtin_type(std::uint32_t oid);
const BuiltinType* find_builtin_type(std::string_view name);

namespace type_oid {

inline constexpr std::uint32_t kBool = 16;
inline constexpr std::uint32_t kBytea = 17;
inline constexpr std::uint32_t kChar = 18;
inline constexpr std::uint32_t kInt8 = 20;
inline constexpr std::uint32_t kInt2 = 21;
inline constexpr std::uint32_t kInt4 = 23;
inline constexpr std::uint32_t kText = 25;
inline constexpr std::uint32_t kOid = 26;
inline constexpr std::uint32_t kJson = 114;
inline constexpr std::uint32_t kFloat4 = 700;
inline constexpr std::uint32_t kFloat8 = 701;
inline constexpr std::uint32_t kBpchar = 1042;
inline constexpr std::uint32_t kVarchar = 1043;
inline constexpr std::uint32_t kDate = 1082;
inline constexpr std::uint32_t kTime = 1083;
inline constexpr std::uint32_t kTimestamp = 1114;
inline constexpr std::uint32_t kTimestamptz = 1184;
inline constexpr std::uint32_t kInterval = 1186;
inline constexpr std::uint32_t kTimetz = 1266;
inline constexpr std::uint32_t kBit = 1560;
inline constexpr std::uint32_t kVarbit = 1562;
inline constexpr std::uint32_t kNumeric = 1700;
inline constexpr std::uint32_t kJsonb = 3802;

}  // namespace type_oid

}  // namespace pgcascade
