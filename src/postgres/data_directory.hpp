#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

// What a data directory on this machine is, without a server.

namespace pgcascade::postgres {

struct DataDirectory {
    enum class State {
        kMissing,       // no such directory
        kEmpty,         // nothing in it (lost+found does not count)
        kPartialClone,  // a clone or initdb of ours that was cut off: may be cleared and made again
        kCluster,       // a whole cluster
        kForeign,       // files that are no cluster: never touched
    };
    State state = State::kMissing;
    int major_version = 0;                // of PG_VERSION; kCluster
    std::uint64_t system_identifier = 0;  // of global/pg_control; kCluster
    bool is_standby = false;              // standby.signal is there
};

// Throws SystemError where it can't be read (permissions).
DataDirectory inspect_data_directory(const std::filesystem::path& path);

// The marker that makes a directory kPartialClone; removed, durably, as the last act of a clone.
inline constexpr const char* kUnfinishedMarker = "pgcascade.unfinished";

// Removes everything in a kPartialClone directory, but the directory itself. Throws ConfigError for any other
// state.
void clear_partial(const std::filesystem::path& path);

}  // namespace pgcascade::postgres
