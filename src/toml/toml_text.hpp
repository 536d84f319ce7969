#pragma once

#include <string>
#include <string_view>

namespace pgcascade {

// The text as a TOML string, quotes included; a key as well.
std::string toml_text(std::string_view text);

}  // namespace pgcascade
