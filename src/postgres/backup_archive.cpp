#include "postgres/backup_archive.hpp"

#include <cerrno>
#include <utility>

#include <archive.h>
#include <archive_entry.h>
#include <fmt/format.h>

#include <pgcascade/error.hpp>

namespace pgcascade::postgres {

void check_archive_path(std::string_view path) {
    std::string_view rest = path;
    for (;;) {
        const auto slash = rest.find('/');
        const std::string_view component = rest.substr(0, slash);
        if (component.empty() || component == "." || component == ".." ||
            component.find('\0') != std::string_view::npos)
            throw ProtocolError(
                fmt::format("the base backup holds a file named \"{}\": only plain relative names are taken",
                            path),
                "is this really a PostgreSQL server?");
        if (slash == std::string_view::npos) return;
        rest.remove_prefix(slash + 1);
    }
}

BackupArchive::BackupArchive(Source source, std::string name)
    : source_(std::move(source)), name_(std::move(name)), archive_(archive_read_new(), archive_read_free) {
    if (!archive_) throw std::bad_alloc{};
    if (archive_read_support_format_tar(archive_.get()) != ARCHIVE_OK ||
        archive_read_open(archive_.get(), this, nullptr, on_read, nullptr) != ARCHIVE_OK)
        throw_failure("can't open");
}

BackupArchive::~BackupArchive() = default;

ssize_t BackupArchive::on_read(archive* reader, void* self, const void** bytes) {
    auto* our = static_cast<BackupArchive*>(self);
    try {
        const std::string_view data = our->source_();
        *bytes = data.data();
        return static_cast<ssize_t>(data.size());
    } catch (...) {
        our->source_failure_ = std::current_exception();
        archive_set_error(reader, EIO, "reading failed");
        return -1;
    }
}

void BackupArchive::throw_failure(const char* doing) {
    if (source_failure_) std::rethrow_exception(std::exchange(source_failure_, nullptr));
    const char* reason = archive_error_string(archive_.get());
    throw ProtocolError(
        fmt::format("{} {} of the base backup: {}", doing, name_, reason != nullptr ? reason : "no reason"),
        "the stream was damaged or cut off on its way: run the same command again");
}

bool BackupArchive::next(ArchiveEntry& entry) {
    // A warning would be a name or a size that libarchive could not read as it stands.
    const int status = archive_read_next_header(archive_.get(), &current_);
    if (status == ARCHIVE_EOF) return false;
    if (status != ARCHIVE_OK) throw_failure("can't read");

    const char* path = archive_entry_pathname(current_);
    path_ = path != nullptr ? path : "";
    const auto type = archive_entry_filetype(current_);
    // basebackup.c has "./pg_wal/archive_status" among names that have no "./", and a slash at the end of
    // links as of directories (port/tar.c).
    if (path_.starts_with("./")) path_.erase(0, 2);
    if (type != AE_IFREG && path_.ends_with('/')) path_.pop_back();
    check_archive_path(path_);
    if ((type != AE_IFREG && type != AE_IFDIR && type != AE_IFLNK) ||
        archive_entry_hardlink(current_) != nullptr || archive_entry_sparse_count(current_) > 0)
        throw ProtocolError(fmt::format(
            "the base backup holds \"{}\", which is neither a file nor a directory nor a link", path_));

    using Kind = ArchiveEntry::Kind;
    const char* target = type == AE_IFLNK ? archive_entry_symlink(current_) : nullptr;
    entry.kind = type == AE_IFREG ? Kind::kFile : type == AE_IFDIR ? Kind::kDirectory : Kind::kLink;
    entry.path = path_;
    entry.mode = archive_entry_perm(current_);
    entry.bytes = type == AE_IFREG ? static_cast<std::uint64_t>(archive_entry_size(current_)) : 0;
    entry.link_target = target != nullptr ? target : "";
    announced_ = entry.bytes;
    received_ = 0;
    return true;
}

std::string_view BackupArchive::read() {
    if (received_ == announced_) return {};
    const void* bytes = nullptr;
    std::size_t size = 0;
    la_int64_t offset = 0;
    do {
        const int status = archive_read_data_block(archive_.get(), &bytes, &size, &offset);
        if (status != ARCHIVE_OK && status != ARCHIVE_EOF) throw_failure("can't read");
        if (status == ARCHIVE_EOF || static_cast<std::uint64_t>(offset) != received_ ||
            size > announced_ - received_)
            throw ProtocolError(fmt::format("\"{}\" in the base backup does not have the announced {} bytes",
                                            path_, announced_));
    } while (size == 0);
    received_ += size;
    return {static_cast<const char*>(bytes), size};
}

}  // namespace pgcascade::postgres
