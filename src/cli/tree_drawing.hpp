#pragma once

#include <string>

#include "tree/status.hpp"

// A tree of servers for people: the nodes with the lag at every edge, their slots, and what is wrong.

namespace pgcascade::cli {

// Whole lines. `colour`: with a terminal's colours.
std::string draw_nodes(const tree::TreeStatus& status, bool colour);
std::string draw_slots(const tree::TreeStatus& status, bool colour);
std::string draw_problems(const tree::TreeStatus& status, bool colour);

// All of these, those that say nothing left out.
std::string draw_tree(const tree::TreeStatus& status, bool colour);

// "", "12 kB", "12 kB, 3 ms", "3 ms"
std::string lag_text(const tree::Lag& lag);

}  // namespace pgcascade::cli
