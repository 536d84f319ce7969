#pragma once

#include <vector>

#include "tree/cascade_file.hpp"
#include "tree/observation.hpp"

namespace pgcascade::tree {

// What a person has to mend before anything can be planned: who can't be reached or let in, what is in the
// way, which histories don't fit. Each node is judged by itself, so all that is wrong is told at once.
std::vector<Problem> check_nodes(const Cascade& cascade, const Observation& observation);

}  // namespace pgcascade::tree
