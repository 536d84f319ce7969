#pragma once

#include <string>
#include <vector>

#include "tree/cascade_file.hpp"

// Lines of pg_hba.conf. Source: PostgreSQL manual, "The pg_hba.conf File".

namespace pgcascade::tree {

// Those of the upstream that let the node's walreceiver in. Both are taken to reach each other by the hosts
// that the file names.
std::vector<std::string> hba_lines_of_standby(const Cascade& cascade, const Node& node);

// Those that let pgcascade itself into a node that it makes; none where initdb's own lines do.
std::vector<std::string> hba_lines_of_pgcascade(const Cascade& cascade, const Node& node);

// Whether initdb's own lines let everybody on this machine in there.
bool is_let_in_by_initdb(const Node& upstream);

}  // namespace pgcascade::tree
