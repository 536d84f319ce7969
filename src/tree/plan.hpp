#pragma once

#include <string>
#include <vector>

#include "tree/cascade_file.hpp"
#include "tree/observation.hpp"
#include "tree/step.hpp"

namespace pgcascade::tree {

// The difference between the file and the servers. Where there are problems, a person has to act first, and
// there are no steps.
struct Plan {
    std::vector<Step> steps;
    std::vector<Problem> problems;

    bool is_empty() const { return steps.empty() && problems.empty(); }
};

// Pure: the same file and observation give the same plan. The observation has to come from a probe with
// for_plan. The order keeps every moment safe: what a standby needs from its upstream (settings, role,
// pg_hba.conf, slot) is there before the standby is; standbys raise the settings that are bound to the
// primary's before it, and lower them after it; a standby has streamed from its new upstream before its slot
// on the old one goes.
Plan plan(const Cascade& cascade, const Observation& observation);

// The problems as one ConfigError. Does nothing where there are none.
void throw_problems(const std::vector<Problem>& problems);

// Whether the standby is fed by its upstream through its slot, as both ends say: not by the text of its
// primary_conninfo.
bool is_attached(const Node& node, const Observation& observation);

// Whether the relay receives all that it is to relay, as both ends say.
bool is_receiving(const Node& relay, const Observation& observation);

}  // namespace pgcascade::tree
