#pragma once

#include <cstdint>
#include <functional>
#include <set>
#include <string>

#include "postgres/backup_archive.hpp"
#include "postgres/backup_manifest.hpp"
#include "postgres/base_backup_stream.hpp"
#include "postgres/clone_feed.hpp"

namespace pgcascade::postgres {

// Takes a base backup to its end: archives into the feed, each name and link checked before; at last the
// manifest, against which all that came is checked, and which goes into the feed too.
class BackupReceiver {
  public:
    using Progress = std::function<void(std::uint64_t done_bytes, std::uint64_t total_bytes)>;

    BackupReceiver(BaseBackupStream& stream, CloneFeed& feed, Progress on_progress);

    // Throws ProtocolError where the backup is not what the manifest says, or nothing that a base backup
    // could be, and what stream and feed throw. Returns where the WAL ends that a copy needs.
    Lsn receive();

    std::uint64_t received_bytes() const { return received_bytes_; }

  private:
    std::size_t root_of_archive() const;
    std::string_view read_counted();
    void receive_archive();
    void receive_entry(std::size_t root, const ArchiveEntry& entry, BackupArchive& archive);
    void receive_file(std::size_t root, const ArchiveEntry& entry, BackupArchive& archive);
    void receive_link(std::size_t root, const ArchiveEntry& entry);
    std::string read_manifest();
    void check_whole(const std::string& manifest) const;
    void store_manifest(const std::string& manifest);

    BaseBackupStream& stream_;
    CloneFeed& feed_;
    Progress on_progress_;
    std::uint64_t received_bytes_ = 0;
    std::uint64_t reported_bytes_ = 0;

    BackupFiles files_;
    std::set<std::string> directories_and_links_;
    std::set<std::size_t> archives_;  // by root
    std::set<std::size_t> links_;     // by index of the tablespace
};

}  // namespace pgcascade::postgres
