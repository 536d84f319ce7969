#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>

// The backup manifest: which files a base backup has, with sizes and checksums. The server sends it last.
// Source: PostgreSQL manual, "Backup Manifest Format"; common/parse_manifest.c.

namespace pgcascade::postgres {

struct BackupFile {
    std::uint64_t bytes = 0;
    std::uint32_t crc32c = 0;

    bool operator==(const BackupFile&) const = default;
};

// By path, relative to the data directory; a tablespace's files lie below pg_tblspc/<oid>/.
using BackupFiles = std::unordered_map<std::string, BackupFile>;

// Reads a manifest of version 1 or 2 (17 and later) with CRC32C checksums, after checking it against the
// SHA-256 in its last line. Throws ProtocolError.
BackupFiles parse_backup_manifest(std::string_view text);

// Throws ProtocolError, naming a file, unless exactly the files of the manifest were received, each with its
// size and checksum.
void check_against_manifest(const BackupFiles& received, const BackupFiles& manifest);

}  // namespace pgcascade::postgres
