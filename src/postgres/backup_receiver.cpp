#include "postgres/backup_receiver.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "base/crc32c.hpp"

namespace pgcascade::postgres {

namespace {

constexpr std::uint64_t kReportEveryBytes = 1024 * 1024;

// About 200 bytes a file: enough for five million of them.
constexpr std::size_t kMaxManifestBytes = 1024 * 1024 * 1024;

constexpr const char* kLinkFolder = "pg_tblspc/";

// The name in the manifest, which knows only the data directory.
std::string manifest_path(const BaseBackupStream& stream, std::size_t root, const std::string& path) {
    return root == 0 ? path : kLinkFolder + stream.tablespaces()[root - 1].oid + "/" + path;
}

}  // namespace

BackupReceiver::BackupReceiver(BaseBackupStream& stream, CloneFeed& feed, Progress on_progress)
    : stream_(stream), feed_(feed), on_progress_(std::move(on_progress)) {}

Lsn BackupReceiver::receive() {
    using Part = BaseBackupStream::Part;
    std::string manifest;
    for (Part part = stream_.next_part(); part != Part::kEnd; part = stream_.next_part()) {
        if (part == Part::kArchive)
            receive_archive();
        else
            manifest = read_manifest();
    }
    const Lsn end = stream_.finish();
    check_whole(manifest);
    store_manifest(manifest);
    return end;
}

std::size_t BackupReceiver::root_of_archive() const {
    const std::string& location = stream_.archive_location();
    if (location.empty()) return 0;
    const auto& known = stream_.tablespaces();
    const auto found = std::find_if(known.begin(), known.end(),
                                    [&](const BackupTablespace& each) { return each.location == location; });
    if (found == known.end())
        throw ProtocolError(
            fmt::format("the base backup holds a tablespace \"{}\" that was not announced", location));
    return static_cast<std::size_t>(found - known.begin()) + 1;
}

std::string_view BackupReceiver::read_counted() {
    const std::string_view bytes = stream_.read();
    received_bytes_ += bytes.size();
    if (on_progress_ && received_bytes_ - reported_bytes_ >= kReportEveryBytes) {
        reported_bytes_ = received_bytes_;
        on_progress_(received_bytes_, std::max(received_bytes_, stream_.total_bytes()));
    }
    return bytes;
}

void BackupReceiver::receive_archive() {
    const std::size_t root = root_of_archive();
    if (!archives_.insert(root).second) throw ProtocolError("the base backup holds the same archive twice");
    BackupArchive archive{[this] { return read_counted(); },
                          root == 0 ? std::string{"the main archive"}
                                    : "the archive of tablespace " + stream_.archive_location()};
    ArchiveEntry entry;
    while (archive.next(entry)) receive_entry(root, entry, archive);
}

void BackupReceiver::receive_entry(std::size_t root, const ArchiveEntry& entry, BackupArchive& archive) {
    if (entry.kind == ArchiveEntry::Kind::kFile) return receive_file(root, entry, archive);
    if (!directories_and_links_.insert(manifest_path(stream_, root, entry.path)).second)
        throw ProtocolError(fmt::format("the base backup holds \"{}\" twice", entry.path));
    if (entry.kind == ArchiveEntry::Kind::kLink) return receive_link(root, entry);
    feed_.make_directory(root, entry.path, entry.mode);
}

void BackupReceiver::receive_file(std::size_t root, const ArchiveEntry& entry, BackupArchive& archive) {
    feed_.begin_file(root, entry.path, entry.mode, entry.bytes);
    Crc32c crc;
    for (auto bytes = archive.read(); !bytes.empty(); bytes = archive.read()) {
        crc.update(bytes);
        feed_.write(bytes);
    }
    feed_.end_file();
    if (!files_.emplace(manifest_path(stream_, root, entry.path), BackupFile{entry.bytes, crc.value()})
             .second)
        throw ProtocolError(fmt::format("the base backup holds \"{}\" twice", entry.path));
}

// pg_tblspc/<oid> is the only link that a base backup has: everything else that is a link on the server
// arrives as a directory (basebackup.c, convert_link_to_directory).
void BackupReceiver::receive_link(std::size_t root, const ArchiveEntry& entry) {
    const auto& known = stream_.tablespaces();
    const auto found = std::find_if(known.begin(), known.end(), [&](const BackupTablespace& each) {
        return entry.path == kLinkFolder + each.oid && entry.link_target == each.location;
    });
    if (root != 0 || found == known.end())
        throw ProtocolError(
            fmt::format("the base backup holds a link \"{}\" to \"{}\", which is no tablespace", entry.path,
                        entry.link_target),
            "is this really a PostgreSQL server?");
    const auto tablespace = static_cast<std::size_t>(found - known.begin());
    links_.insert(tablespace);
    feed_.make_tablespace_link(entry.path, tablespace);
}

std::string BackupReceiver::read_manifest() {
    std::string manifest;
    for (auto bytes = stream_.read(); !bytes.empty(); bytes = stream_.read()) {
        if (manifest.size() + bytes.size() > kMaxManifestBytes)
            throw ProtocolError(
                fmt::format("the server's backup manifest is longer than {} bytes", kMaxManifestBytes));
        manifest += bytes;
    }
    return manifest;
}

void BackupReceiver::check_whole(const std::string& manifest) const {
    check_against_manifest(files_, parse_backup_manifest(manifest));
    const std::size_t tablespaces = stream_.tablespaces().size();
    if (archives_.size() != tablespaces + 1 || links_.size() != tablespaces ||
        !files_.contains("global/pg_control"))
        throw ProtocolError("the base backup is not whole: a tablespace or global/pg_control is missing");
}

void BackupReceiver::store_manifest(const std::string& manifest) {
    feed_.begin_file(0, "backup_manifest", 0640, manifest.size());
    feed_.write(manifest);
    feed_.end_file();
}

}  // namespace pgcascade::postgres
