#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <pgcascade/lsn.hpp>

#include "postgres/connection.hpp"
#include "protocol/backup_message.hpp"

// One BASE_BACKUP, as it comes from the server: tar archives one after the other, then the manifest. Pulled:
// the server waits while nobody reads. Source: PostgreSQL manual, "Streaming Replication Protocol",
// BASE_BACKUP, 15 and later.

namespace pgcascade::postgres {

struct BackupTablespace {
    std::string oid;
    std::string location;  // on the server; not absolute for one "in place" (allow_in_place_tablespaces)
    std::uint64_t bytes = 0;
};

class BaseBackupStream {
  public:
    // On a physical replication connection, which it needs for itself from here on and which keeps no
    // time-out: the server answers only after a checkpoint, and then as fast as its disks are. Every call
    // throws ServerError, ConnectionError, ProtocolError or Stopped.
    BaseBackupStream(Connection& connection, const std::string& label);

    Lsn start() const { return start_; }
    TimelineId timeline() const { return timeline_; }

    // The sizes are estimates of the archives, made when the backup started.
    const std::vector<BackupTablespace>& tablespaces() const { return tablespaces_; }
    std::uint64_t main_bytes() const { return main_bytes_; }  // of the data directory without tablespaces
    std::uint64_t total_bytes() const;

    enum class Part { kArchive, kManifest, kEnd };

    // Goes on to the next part; what was not read of the current one is passed over.
    Part next_part();

    // Of the tablespace whose archive is being read; empty: the data directory itself.
    const std::string& archive_location() const { return archive_location_; }

    // The next bytes of the current part, valid until the next call; empty at its end.
    std::string_view read();

    // After Part::kEnd: where the WAL ends that a copy needs to be consistent.
    Lsn finish();

  private:
    void read_header();
    bool receive();

    Connection& connection_;
    Lsn start_;
    TimelineId timeline_;
    std::vector<BackupTablespace> tablespaces_;
    std::uint64_t main_bytes_ = 0;
    std::string archive_location_;

    std::unique_ptr<char, decltype(&PQfreemem)> buffer_{nullptr, PQfreemem};
    std::optional<protocol::BackupMessage>
        message_;  // received and not yet taken; its views are into buffer_
    bool has_ended_ = false;
};

}  // namespace pgcascade::postgres
