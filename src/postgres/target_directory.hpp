#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <sys/types.h>

#include "base/sized_file.hpp"
#include "postgres/base_backup_stream.hpp"
#include "postgres/clone.hpp"
#include "postgres/unfinished_marker.hpp"

// Where one target of a clone keeps its files: the data directory and a directory for each tablespace.

namespace pgcascade::postgres {

// Throws ConfigError where another cluster or foreign files are in the way; touches nothing.
void check_data_directory_is_free(const CloneTarget& target);

// Where this target puts each of the server's tablespaces, in their order. Throws ConfigError, with the line
// that mends it as hint, where a place is taken or not absolute, and for
// tablespaces "in place"; touches nothing.
std::vector<std::filesystem::path> locate_tablespaces(const CloneTarget& target,
                                                      const std::vector<BackupTablespace>& tablespaces);

// How files get durable. syncfs(2) writes out in one go what one fsync for each of thousands of files does
// piecemeal, but before Linux 5.8 it does not report errors.
enum class SyncMethod { kFsync, kSyncfs };
SyncMethod best_sync_method();

// One thread at a time. Paths are relative, checked by check_archive_path, and resolved below the root's
// descriptor without following links: what another process does in the directories meanwhile can't divert
// a write. Everything throws SystemError.
class TargetDirectory {
  public:
    // Index of the directory that a path is relative to: 0 is the data directory, i + 1 the place of
    // tablespaces[i].
    using Root = std::size_t;

    // Makes what is missing, marks it unfinished and clears what an earlier clone left.
    TargetDirectory(const CloneTarget& target, const std::vector<std::filesystem::path>& tablespaces,
                    bool group_access, SyncMethod sync_method = best_sync_method());

    void make_directory(Root root, std::string_view path, mode_t mode);
    void make_tablespace_link(std::string_view path, std::size_t tablespace);

    // One file at a time; `bytes` is what write() will bring. Modes are the source's: of them the owner's
    // bits count, and the group's where the source's data directory has group access.
    void begin_file(Root root, std::string_view path, mode_t mode, std::uint64_t bytes);
    void write(std::string_view bytes);
    void end_file();

    std::uint64_t written_bytes() const { return written_bytes_; }

    // Everything written so far, on disk.
    void sync();

    // After sync(): removes the markers and puts global/pg_control in place. From then on it is a cluster.
    void complete();

    const CloneTarget& target() const { return target_; }
    const std::filesystem::path& root_path(Root root) const { return roots_[root].path; }

  private:
    struct OpenRoot {
        std::filesystem::path path;
        UnfinishedMarker marker;
        FileDescriptor fd;
    };

    void add_root(const std::filesystem::path& path, const std::string& marker_content);
    int parent_of(Root root, std::string_view path);
    FileDescriptor open_directory(Root root, std::string_view path) const;
    void give_away(int fd, mode_t mode, const std::filesystem::path& name) const;
    std::filesystem::path full_path(Root root, std::string_view path) const {
        return roots_[root].path / path;
    }

    const CloneTarget& target_;
    mode_t mode_mask_;
    SyncMethod sync_method_;
    std::vector<OpenRoot> roots_;
    std::uint64_t written_bytes_ = 0;
    bool has_control_file_ = false;

    // The directory of the last file: most files come in a row with their neighbours.
    Root parent_root_ = 0;
    std::string parent_path_;
    FileDescriptor parent_fd_;

    std::optional<SizedFile> file_;
    std::filesystem::path file_path_;
    std::vector<std::pair<Root, std::string>> made_directories_;  // to fsync; SyncMethod::kFsync
};

}  // namespace pgcascade::postgres
