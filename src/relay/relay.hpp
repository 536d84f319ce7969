#pragma once

#include <filesystem>

namespace pgcascade::relay {

struct RelayOptions {
    std::filesystem::path file;  // relay.toml
    int stop_fd = -1;            // readable: the relay is to stop
    int reload_fd = -1;          // a signalfd: read, and the users and certificates are read anew
};

// A relay, from its file to its last session: opens the logs, listens, receives, and serves until the stop.
// Then it sends its clients what it has, and ends them. Throws ConfigError, SystemError, LogCorrupt, and
// Error where another relay works in the directory.
void run_relay(const RelayOptions& options);

}  // namespace pgcascade::relay
