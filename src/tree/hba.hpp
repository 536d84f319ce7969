#pragma once

#include <string>
#include <vector>

#include "tree/cascade_file.hpp"

// Lines of pg_hba.conf. Source: PostgreSQL manual, "The pg_hba.conf File".

namespace pgcascade::tree {

// Those of the upstream, a server, that let in the node's walreceiver, or a relay's receivers. Both are taken
// to reach each other by the hosts that the file names.
std::vector<std::string> hba_lines_of_downstream(const Cascade& cascade, const Node& node);

// The same of a standby on any server: of the one from which it is cloned.
std::vector<std::string> hba_lines(const Cascade& cascade, const Node& standby, const Node& server);

// Those that let pgcascade itself into a node that it makes; none where initdb's own lines do.
std::vector<std::string> hba_lines_of_pgcascade(const Cascade& cascade, const Node& node);

// Whether initdb's own lines let everybody on this machine in there.
bool is_let_in_by_initdb(const Node& upstream);

}  // namespace pgcascade::tree
