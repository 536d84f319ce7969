#include "postgres/target_directory.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <pgcascade/error.hpp>

#include "postgres/data_directory.hpp"

namespace pgcascade::postgres {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view kControlFile = "global/pg_control";

constexpr mode_t kOwnerBits = 0700;
constexpr mode_t kOwnerAndGroupBits = 0750;

constexpr const char* kDataDirectoryNote =
    "pgcascade is cloning a server into this directory, or was cut off while doing so: no server can run on\n"
    "it. Run the same command again to make it whole, or remove the directory.\n";

// "/srv/space/" and "/srv//space" are the same place.
fs::path without_trailing_slash(const fs::path& path) {
    const fs::path normal = path.lexically_normal();
    return normal.has_filename() ? normal : normal.parent_path();
}

// The marker in a tablespace's place names the data directory that it is a part of: a clone into another one
// must not clear it, and nor may anybody once that data directory is a cluster.
std::string tablespace_note(const fs::path& data_directory) {
    return fmt::format("pgcascade is cloning a tablespace of {} into this directory\n",
                       data_directory.string());
}

bool is_left_from_clone_into(const fs::path& data_directory, const fs::path& place) {
    const std::string note = read_file(place / kUnfinishedMarker);
    if (!note.empty()) return note == tablespace_note(data_directory);
    // Cut off between making the marker and writing it.
    return std::distance(fs::directory_iterator{place}, fs::directory_iterator{}) == 1;
}

std::string mapping_hint(const CloneTarget& target, const std::string& location) {
    if (target.node.empty())
        return fmt::format("say where it goes: --tablespace-mapping {}=/another/directory", location);
    return fmt::format(
        "say in the cascade file where it goes: [node.{}.tablespaces] \"{}\" = \"/another/directory\"",
        target.node, location);
}

void check_place(const CloneTarget& target, const std::string& location, const fs::path& place) {
    using State = DataDirectory::State;
    if (!place.is_absolute())
        throw ConfigError(
            fmt::format("the tablespace {} of the source can't go to {}: that is no absolute path", location,
                        place.string()),
            mapping_hint(target, location));
    const State state = inspect_data_directory(place).state;
    if (state == State::kMissing || state == State::kEmpty) return;
    if (state == State::kPartialClone && is_left_from_clone_into(target.data_directory, place)) return;
    throw ConfigError(
        fmt::format("the tablespace {} of the source can't go to {} for {}: the directory is not empty",
                    location, place.string(), target.data_directory.string()),
        mapping_hint(target, location));
}

std::pair<std::string_view, std::string_view> split(std::string_view path) {
    const auto slash = path.rfind('/');
    if (slash == std::string_view::npos) return {{}, path};
    return {path.substr(0, slash), path.substr(slash + 1)};
}

}  // namespace

void check_data_directory_is_free(const CloneTarget& target) {
    using State = DataDirectory::State;
    const fs::path& path = target.data_directory;
    if (!path.is_absolute()) throw ConfigError(path.string() + " is no absolute path");
    const DataDirectory found = inspect_data_directory(path);
    if (found.state == State::kCluster)
        throw ConfigError(fmt::format("{} holds a PostgreSQL {} cluster already (system identifier {})",
                                      path.string(), found.major_version, found.system_identifier),
                          "clone into another directory, or stop that server and remove its files yourself");
    if (found.state == State::kForeign)
        throw ConfigError(path.string() + " is not empty",
                          "clone into an empty directory, or one that does not exist yet");
}

std::vector<fs::path> locate_tablespaces(const CloneTarget& target,
                                         const std::vector<BackupTablespace>& tablespaces) {
    std::vector<fs::path> places;
    for (const BackupTablespace& tablespace : tablespaces) {
        const fs::path location = without_trailing_slash(tablespace.location);
        if (!location.is_absolute())
            throw ConfigError(fmt::format("the tablespace with oid {} of the source was made in place ({})",
                                          tablespace.oid, tablespace.location),
                              "such tablespaces are for PostgreSQL's own tests (allow_in_place_tablespaces): "
                              "move its tables "
                              "elsewhere and drop it");
        fs::path place = location;
        for (const auto& [from, to] : target.tablespaces)
            if (without_trailing_slash(from) == location) place = without_trailing_slash(to);
        check_place(target, tablespace.location, place);
        places.push_back(std::move(place));
    }
    return places;
}

SyncMethod best_sync_method() {
    utsname system{};
    int major = 0;
    int minor = 0;
    if (::uname(&system) != 0 || std::sscanf(system.release, "%d.%d", &major, &minor) != 2)
        return SyncMethod::kFsync;
    return std::pair{major, minor} >= std::pair{5, 8} ? SyncMethod::kSyncfs : SyncMethod::kFsync;
}

TargetDirectory::TargetDirectory(const CloneTarget& target, const std::vector<fs::path>& tablespaces,
                                 bool group_access, SyncMethod sync_method)
    : target_(target), mode_mask_(group_access ? kOwnerAndGroupBits : kOwnerBits), sync_method_(sync_method) {
    add_root(target.data_directory, kDataDirectoryNote);
    for (const fs::path& place : tablespaces) add_root(place, tablespace_note(target.data_directory));
}

void TargetDirectory::add_root(const fs::path& path, const std::string& marker_content) {
    make_data_directory(path, target_.owner);
    FileDescriptor fd{::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    if (!fd) throw SystemError("can't open " + path.string(), errno);
    give_away(fd.get(), mode_mask_, path);
    UnfinishedMarker marker = UnfinishedMarker::place(path, marker_content, target_.owner);
    if (marker.was_there()) marker.clear_rest();
    roots_.push_back({path, std::move(marker), std::move(fd)});
}

void TargetDirectory::give_away(int fd, mode_t mode, const fs::path& name) const {
    if (target_.owner && ::fchown(fd, target_.owner->user, target_.owner->group) != 0)
        throw SystemError("can't give away " + name.string(), errno,
                          "run pgcascade as root, or as the account that the server runs as");
    if (::fchmod(fd, mode & mode_mask_) != 0)
        throw SystemError("can't set the mode of " + name.string(), errno);
}

FileDescriptor TargetDirectory::open_directory(Root root, std::string_view path) const {
    FileDescriptor directory{::fcntl(roots_[root].fd.get(), F_DUPFD_CLOEXEC, 0)};
    for (std::string_view rest = path; directory && !rest.empty();) {
        const auto slash = std::min(rest.find('/'), rest.size());
        const std::string component{rest.substr(0, slash)};
        rest.remove_prefix(std::min(slash + 1, rest.size()));
        directory = FileDescriptor{
            ::openat(directory.get(), component.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)};
    }
    if (!directory) throw SystemError("can't open the directory " + full_path(root, path).string(), errno);
    return directory;
}

int TargetDirectory::parent_of(Root root, std::string_view path) {
    const std::string_view parent = split(path).first;
    if (!parent_fd_ || parent_root_ != root || parent_path_ != parent) {
        parent_fd_ = open_directory(root, parent);
        parent_root_ = root;
        parent_path_ = parent;
    }
    return parent_fd_.get();
}

void TargetDirectory::make_directory(Root root, std::string_view path, mode_t mode) {
    const std::string name{split(path).second};
    if (::mkdirat(parent_of(root, path), name.c_str(), kOwnerBits) != 0)
        throw SystemError("can't make the directory " + full_path(root, path).string(), errno);
    give_away(open_directory(root, path).get(), mode | kOwnerBits, full_path(root, path));
    if (sync_method_ == SyncMethod::kFsync) made_directories_.emplace_back(root, path);
}

void TargetDirectory::make_tablespace_link(std::string_view path, std::size_t tablespace) {
    const int parent = parent_of(0, path);
    const std::string name{split(path).second};
    if (::symlinkat(root_path(tablespace + 1).c_str(), parent, name.c_str()) != 0)
        throw SystemError("can't make the link " + full_path(0, path).string(), errno);
    if (target_.owner &&
        ::fchownat(parent, name.c_str(), target_.owner->user, target_.owner->group, AT_SYMLINK_NOFOLLOW) != 0)
        throw SystemError("can't give away " + full_path(0, path).string(), errno);
}

void TargetDirectory::begin_file(Root root, std::string_view path, mode_t mode, std::uint64_t bytes) {
    // The control file, without which no server starts, is written into the marker, which gets its name at
    // the very end.
    const bool is_control_file = root == 0 && path == kControlFile;
    if (is_control_file) path = kUnfinishedMarker;
    has_control_file_ = has_control_file_ || is_control_file;
    file_path_ = full_path(root, path);
    FileDescriptor fd{
        ::openat(parent_of(root, path), std::string{split(path).second}.c_str(),
                 O_WRONLY | (is_control_file ? O_TRUNC : O_CREAT | O_EXCL) | O_NOFOLLOW | O_CLOEXEC, 0600)};
    if (!fd) throw SystemError("can't make " + file_path_.string(), errno);
    give_away(fd.get(), mode | 0600, file_path_);
    file_.emplace(std::move(fd), bytes, file_path_);
}

void TargetDirectory::write(std::string_view bytes) {
    file_->write(bytes);
    written_bytes_ += bytes.size();
}

void TargetDirectory::end_file() {
    if (sync_method_ == SyncMethod::kFsync) fsync_file(file_->fd(), file_path_);
    file_.reset();
}

void TargetDirectory::sync() {
    if (sync_method_ == SyncMethod::kFsync) {
        for (const auto& [root, path] : made_directories_)
            fsync_file(open_directory(root, path).get(), full_path(root, path));
        for (const OpenRoot& root : roots_) fsync_file(root.fd.get(), root.path);
        return;
    }
    // The descriptors were opened before anything was written, so no error since then can be missed.
    for (const OpenRoot& root : roots_)
        if (::syncfs(root.fd.get()) != 0)
            throw SystemError("can't sync the file system of " + root.path.string(), errno);
}

void TargetDirectory::complete() {
    if (!has_control_file_) throw SystemError("no control file has come for " + roots_[0].path.string(), 0);
    // One rename: at no moment is the directory neither unfinished nor whole, or both.
    roots_[0].marker.become(roots_[0].path / kControlFile);
    // A marker that a crash leaves in a tablespace's place hurts nobody: check_place goes by its content.
    for (std::size_t root = 1; root < roots_.size(); ++root) roots_[root].marker.remove();
}

}  // namespace pgcascade::postgres
