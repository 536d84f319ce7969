#pragma once

#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include <sys/types.h>

// One tar archive of a base backup, taken apart by libarchive. The names in it come from a peer: none gets
// through that could lead out of the directory it is meant for.

struct archive;
struct archive_entry;

namespace pgcascade::postgres {

struct ArchiveEntry {
    enum class Kind { kFile, kDirectory, kLink };
    Kind kind = Kind::kFile;
    std::string path;         // relative, see check_archive_path
    mode_t mode = 0;          // permission bits as the source has them
    std::uint64_t bytes = 0;  // kFile: the announced size
    std::string link_target;  // kLink: as the source has it; to be judged by the caller
};

// Throws ProtocolError unless the path is relative and each of its components is a plain name: not empty, not
// ".", not "..".
void check_archive_path(std::string_view path);

class BackupArchive {
  public:
    // Gives the next bytes of the archive, valid until its next call; empty at the end.
    using Source = std::function<std::string_view()>;

    // `name` is for messages.
    BackupArchive(Source source, std::string name);
    ~BackupArchive();
    BackupArchive(const BackupArchive&) = delete;
    BackupArchive& operator=(const BackupArchive&) = delete;

    // Goes on to the next entry; false at the end. Throws ProtocolError for what is no tar archive or stops
    // in the middle of one, for a path that check_archive_path refuses, and for any kind of entry that a
    // base backup has no use for (hard links, devices, sparse files); and what the source throws.
    bool next(ArchiveEntry& entry);

    // The next bytes of the current file, valid until the next call; empty once all announced bytes came.
    std::string_view read();

  private:
    static ssize_t on_read(archive* reader, void* self, const void** bytes);
    [[noreturn]] void throw_failure(const char* doing);

    Source source_;
    std::string name_;
    std::exception_ptr source_failure_;  // an exception must not cross libarchive's frames
    std::unique_ptr<archive, int (*)(archive*)> archive_;
    archive_entry* current_ = nullptr;  // owned by archive_
    std::string path_;                  // of the current entry, for messages
    std::uint64_t announced_ = 0;       // bytes of the current file
    std::uint64_t received_ = 0;
};

}  // namespace pgcascade::postgres
