#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "relay/slot.hpp"

// The file in which a relay keeps its slots, pure: text in, values out. People may read it, not change it.
//
//     pgcascade slots 3
//     <name> physical|logical <database|-> <feed|-> <owner|-> <position> <two_phase> <failover> <created>
//         <invalidation_reason|-> <xmin> <catalog_xmin>
//     …
//     crc32c <eight hexadecimal digits, of all bytes before this line>
//
// One line a slot, one space between. Of database and owner, each byte that is no ASCII letter, digit or
// underscore is written as %XX. two_phase and failover are yes or no; created counts microseconds since
// 2000-01-01 00:00 UTC, as PostgreSQL does. A transaction is epoch * 2^32 + its number; 0: none.

namespace pgcascade::relay {

// Without the temporary ones.
std::string to_text(const Slots& slots);

// The slots as they were, persisted and not active. Throws LogCorrupt that names the file.
Slots parse_slots(std::string_view text, const std::filesystem::path& name_for_errors);

}  // namespace pgcascade::relay
