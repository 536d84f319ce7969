#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

#include "base/file.hpp"

// What a data directory on this machine is, without a server.

namespace pgcascade::postgres {

struct DataDirectory {
    enum class State {
        kMissing,       // no such directory
        kEmpty,         // nothing in it (lost+found does not count)
        kPartialClone,  // a clone or initdb of ours that was cut off: may be cleared and made again
        kCluster,       // a whole cluster
        kForeign,       // something that is no whole cluster and not ours: never touched
    };
    State state = State::kMissing;
    int major_version = 0;                // of PG_VERSION; kCluster
    std::uint64_t system_identifier = 0;  // of global/pg_control; kCluster
    bool is_standby = false;              // standby.signal is there; kCluster
};

// A symbolic link to a data directory counts as one. Throws SystemError where it can't be read
// (permissions).
DataDirectory inspect_data_directory(const std::filesystem::path& path);

// Makes the directory where it is missing, its missing parents too (mode 0755, so that the server's account
// gets through), and gives it the mode 0700 and the owner (nothing: whoever runs this process) that a server
// needs. Throws SystemError.
void make_data_directory(const std::filesystem::path& path, std::optional<FileOwner> owner);

// The file that makes a directory kPartialClone, whatever else is in it: made, durably, before anything else.
// No server starts on a clone while it is there: the last act is the one rename(2) that turns it into
// global/pg_control.
inline constexpr const char* kUnfinishedMarker = "pgcascade.unfinished";

// Removes everything in a kPartialClone directory, but the directory itself; the marker goes last, so that a
// clearing that was cut off can be done again. Follows no symbolic link: tablespaces elsewhere stay. Throws
// ConfigError for any other state, and while another process is filling the directory.
void clear_partial(const std::filesystem::path& path);

// The root directory of an ext4 file system has an entry "lost+found", which belongs to the file system.
bool is_lost_and_found(const std::filesystem::path& entry);

}  // namespace pgcascade::postgres
