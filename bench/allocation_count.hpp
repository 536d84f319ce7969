#pragma once

#include <cstdint>

namespace pgcascade::bench {

// How often this program has allocated memory with new so far. Linking allocation_count.cpp replaces the
// global operator new with one that counts.
std::uint64_t allocation_count();

}  // namespace pgcascade::bench
