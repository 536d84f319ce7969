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
// PostgreSQL manual, "Streaming Replication Protocol", BASE_BACKUP; backup/basebackup.c.

namespace pgcascade::postgres {

struct CloneTarget {
    std::filesystem::path data_directory;  // missing, empty, or a partial clone of ours
    std::optional<FileOwner> owner;        // whom the files belong to; nothing: this process
    std::map<std::string, std::filesystem::path> tablespaces;  // location on the source -> location here
};

struct CloneOptions {
    std::string name;  // of the source, for messages
    std::string label = "pgcascade";
    int stop_fd = -1;
    std::function<void(std::uint64_t done_bytes, std::uint64_t total_bytes)> on_progress;
};

struct CloneResult {
    Lsn start;
    Lsn end;
    TimelineId timeline;
    std::uint64_t bytes = 0;  // received
};

// All or nothing, for each target: until every file has been checked against the server's manifest and
// fsynced, the directory holds no global/pg_control, so no server can start on it, and the unfinished marker,
// so the next clone may clear it. WAL is not copied: the new standby streams it from `start` on, so a
// physical slot must hold it already. Refuses received names that are absolute, hold "..", or link anywhere
// but to a mapped tablespace. Throws ConfigError for a target that is in the way or a tablespace that is not
// mapped, SystemError (disk full, …), ConnectionError, ProtocolError, Stopped.
CloneResult clone(const Conninfo& source, const std::vector<CloneTarget>& targets,
                  const CloneOptions& options);

}  // namespace pgcascade::postgres
