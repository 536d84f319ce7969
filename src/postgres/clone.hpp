#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <pgcascade/lsn.hpp>

#include "base/file.hpp"
#include "postgres/conninfo.hpp"

// Copies a running server's data directory over the replication protocol (BASE_BACKUP), into any number of
// directories at once: the server reads its data once, and every target gets the same bytes. Source:
// PostgreSQL manual, "Streaming Replication Protocol", BASE_BACKUP; backup/basebackup.c. Servers of 15 and
// later.

namespace pgcascade::postgres {

struct CloneTarget {
    std::filesystem::path data_directory;  // absolute; missing, empty, or a partial clone of ours
    std::optional<FileOwner> owner{};      // whom the files belong to; nothing: this process

    // Location on the source -> location here, both absolute. One that is not named goes to the same path;
    // the place must be missing, empty, or filled by an unfinished clone into the same data directory.
    std::map<std::string, std::filesystem::path> tablespaces{};

    // The node's name in the cascade file, for the hint about tablespaces; empty: there is no such file.
    std::string node{};
};

struct CloneOptions {
    std::string name{};  // of the source, for messages
    std::string label = "pgcascade";
    int stop_fd = -1;

    // Called often, on the calling thread. The total is the server's estimate, never below what is done; 0
    // while the server is still busy with its checkpoint.
    std::function<void(std::uint64_t done_bytes, std::uint64_t total_bytes)> on_progress{};
};

struct CloneResult {
    Lsn start;  // a server on the clone replays WAL from here,
    Lsn end;    // and is consistent from here on
    TimelineId timeline;
    std::uint64_t bytes = 0;  // received, once for all targets
};

// All or nothing, for each target: until every file has been checked against the server's manifest and is on
// disk, the directory holds no global/pg_control, so no server can start on it, and it holds the unfinished
// marker, so the next clone may clear it; one rename(2) ends both. Nothing is received before all targets
// have been found fit.
//
// WAL is not copied: the new standby streams it from `start` on, so a physical slot must hold it already.
//
// A target that fails (disk full) is dropped and the others are finished; then its error is thrown, and says
// which targets are whole. What concerns all of them ends all of them.
//
// Refuses received names that are absolute, hold "..", or link anywhere but to a tablespace. Throws
// ConfigError for a target that is in the way or a tablespace that has no place, SystemError (disk full, …),
// ServerError, ConnectionError, ProtocolError, Stopped.
CloneResult clone(const Conninfo& source, const std::vector<CloneTarget>& targets,
                  const CloneOptions& options);

}  // namespace pgcascade::postgres
