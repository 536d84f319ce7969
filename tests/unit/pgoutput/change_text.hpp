#pragma once

#include <string>

#include <pgcascade/change.hpp>

namespace pgcascade {

// Everything a change holds, in lines that a person can read and compare with the SQL behind it. A relation
// is described when its generation differs from `generation`, which is then set to it.
std::string describe(const Change& change, std::uint64_t& generation);

}  // namespace pgcascade
