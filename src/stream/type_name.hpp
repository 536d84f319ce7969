#pragma once

#include <string>

#include <pgcascade/change.hpp>

namespace pgcascade {

// The column's type in SQL, with its modifier: character varying(30), numeric(10,2), timestamp(3) with time
// zone, integer[], sales."Mood". As the server's format_type() prints it under the default search_path, where
// public is visible. Source: PostgreSQL, utils/adt/format_type.c and each type's typmodout function.
//
// What pgoutput does not tell is not in it: a domain appears as its base type, a type of an extension without
// its modifier, and a name that is quoted only for being a key word without the quotes.
std::string sql_type_name(const Column& column);

// The OID that says what the column's values look like: of a domain over a built-in type, that type's.
std::uint32_t value_type_oid(const Column& column);

// Whether a type that is not built in is an array. PostgreSQL names the array type of t _t, and nothing else
// that pgoutput tells sets arrays apart.
bool is_announced_array(const Column& column);

}  // namespace pgcascade
