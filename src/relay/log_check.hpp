#pragma once

#include <vector>

#include "log/inspection.hpp"

namespace pgcascade::relay {

// Reads these logs whole once, slowly, beside whoever writes and sends, and holds it
// against its checksums: a start looks only at what a crash can have damaged. In a thread of its own.
//
// Throws LogCorrupt, with file and offset, where something is damaged that was on disk: what is sent from
// there would be taken for true, so the process must end. Throws Stopped once `stop_fd` is readable, and
// SystemError.
void check_logs(const std::vector<log::LogPlace>& logs, int stop_fd);

}  // namespace pgcascade::relay
