#pragma once

#include <string>

#include "relay/relay_status.hpp"

namespace pgcascade::cli {

// Feeds, slots and sessions as tables, then the problems, with what to do.
std::string draw_relay(const relay::RelayStatus& status, bool colour);

// With its hint, if there is one; whole lines.
std::string draw_problem(const relay::RelayProblem& problem, bool colour);

}  // namespace pgcascade::cli
