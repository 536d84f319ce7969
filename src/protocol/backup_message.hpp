#pragma once

#include <cstdint>
#include <string_view>
#include <variant>

// The messages inside CopyData while a base backup runs, from server to client.
// Source: PostgreSQL manual, "Streaming Replication Protocol", BASE_BACKUP; backup/basebackup_copy.c.

namespace pgcascade::protocol {

// 'n' | String name of the archive | String location of the tablespace; empty: the data directory itself
struct BackupArchiveStart {
    std::string_view name;
    std::string_view tablespace_location;
};

// 'm': the Data messages from here on are the manifest's
struct BackupManifestStart {};

// 'd' | bytes of the archive or of the manifest
struct BackupData {
    std::string_view bytes;
};

// 'p' | Int64 bytes done
struct BackupProgress {
    std::uint64_t done_bytes = 0;
};

using BackupMessage = std::variant<BackupArchiveStart, BackupManifestStart, BackupData, BackupProgress>;

// The views are into `bytes`. Throws ProtocolError for anything else and for a message of the wrong length.
BackupMessage parse_backup_message(std::string_view bytes);

}  // namespace pgcascade::protocol
