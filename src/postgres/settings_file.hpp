#pragma once

#include <map>
#include <string>
#include <string_view>

// postgresql.auto.conf as text: what ALTER SYSTEM writes.
// Source: PostgreSQL, utils/misc/guc.c (write_auto_conf_file) and guc-file.l.

namespace pgcascade::postgres {

using Settings = std::map<std::string, std::string>;

// The last value of each name counts, as for the server. Throws ConfigError, with the line's number, for a
// line that is no setting.
Settings parse_settings(std::string_view text);

// Throws ConfigError for a name that is no setting's name and a value with a line break, which the file can't
// hold.
std::string to_settings_text(const Settings& settings);

}  // namespace pgcascade::postgres
