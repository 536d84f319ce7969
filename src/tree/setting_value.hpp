#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "tree/observation.hpp"

// Values of PostgreSQL's settings, compared by what they mean: "128MB" is 16384 blocks of 8 kB, "yes" is on.
// Source: PostgreSQL, utils/misc/guc.c (parse_int, parse_real, the unit tables), utils/adt/bool.c.

namespace pgcascade::tree {

// A number, in `unit`s where the setting has one; nothing where the text is no number or the unit is not of
// that kind.
std::optional<double> parse_number(std::string_view text, std::string_view unit);

// Whether the server takes both for the same value of this setting, whose type and unit `setting` knows.
bool same_value(std::string_view left, std::string_view right, const Setting& setting);

// Names whose value is a list of quoted words (GUC_LIST_QUOTE): ALTER SYSTEM takes each word for itself.
bool is_quoted_list(std::string_view name);

// 'value', or 'a', 'b' for such a list, as it stands behind "ALTER SYSTEM SET name =".
std::string alter_system_value(std::string_view name, std::string_view value);

}  // namespace pgcascade::tree
