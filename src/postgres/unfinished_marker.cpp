#include "postgres/unfinished_marker.hpp"

#include <cerrno>
#include <utility>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <pgcascade/error.hpp>

#include "postgres/data_directory.hpp"

namespace pgcascade::postgres {

namespace fs = std::filesystem;

namespace {

fs::path marker_of(const fs::path& directory) {
    return directory / kUnfinishedMarker;
}

// A link in its place is not ours: it is never followed.
FileDescriptor open_marker(const fs::path& directory, int flags) {
    return FileDescriptor{
        ::open(marker_of(directory).c_str(), flags | O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600)};
}

}  // namespace

UnfinishedMarker::UnfinishedMarker(fs::path directory, FileDescriptor fd, bool was_there)
    : directory_(std::move(directory)), fd_(std::move(fd)), was_there_(was_there) {
    lock();
}

void UnfinishedMarker::lock() const {
    const fs::path marker = marker_of(directory_);
    struct stat status {};
    if (::fstat(fd_.get(), &status) != 0) throw SystemError("can't look at " + marker.string(), errno);
    if (!S_ISREG(status.st_mode)) throw SystemError(marker.string() + " is no file", 0);
    if (::flock(fd_.get(), LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK) throw SystemError("can't lock " + marker.string(), errno);
        throw ConfigError("another pgcascade is filling " + directory_.string(), "wait until it has ended");
    }
    // Between our open and our lock, another one may have finished its work and removed the file.
    if (::fstat(fd_.get(), &status) != 0) throw SystemError("can't look at " + marker.string(), errno);
    if (status.st_nlink == 0)
        throw ConfigError("another pgcascade has just filled " + directory_.string(),
                          "look at what is there now");
}

UnfinishedMarker UnfinishedMarker::take(const fs::path& directory) {
    FileDescriptor fd = open_marker(directory, 0);
    if (!fd) throw SystemError("can't open " + marker_of(directory).string(), errno);
    return {directory, std::move(fd), true};
}

UnfinishedMarker UnfinishedMarker::place(const fs::path& directory, const std::string& content,
                                         std::optional<FileOwner> owner) {
    const fs::path marker = marker_of(directory);
    FileDescriptor fd = open_marker(directory, O_CREAT | O_EXCL);
    if (!fd && errno == EEXIST) return take(directory);
    if (!fd) throw SystemError("can't make " + marker.string(), errno);
    UnfinishedMarker placed{directory, std::move(fd), false};
    if (owner && ::fchown(placed.fd_.get(), owner->user, owner->group) != 0)
        throw SystemError("can't give away " + marker.string(), errno);
    write_all(placed.fd_.get(), content, marker);
    fsync_file(placed.fd_.get(), marker);
    fsync_directory(directory);
    return placed;
}

void UnfinishedMarker::clear_rest() const {
    try {
        for (const fs::directory_entry& entry : fs::directory_iterator{directory_})
            if (entry.path().filename() != kUnfinishedMarker && !is_lost_and_found(entry.path()))
                fs::remove_all(entry.path());
    } catch (const fs::filesystem_error& problem) {
        throw SystemError("can't clear the unfinished clone in " + directory_.string() + ": " +
                              problem.path1().string() + ": " + problem.code().message(),
                          0, "run pgcascade as the account that owns the directory, or as root");
    }
    fsync_directory(directory_);
}

void UnfinishedMarker::remove() {
    const fs::path marker = marker_of(directory_);
    if (::unlink(marker.c_str()) != 0) throw SystemError("can't remove " + marker.string(), errno);
    fsync_directory(directory_);
    fd_.reset();
}

void UnfinishedMarker::become(const fs::path& file) {
    const fs::path marker = marker_of(directory_);
    if (::rename(marker.c_str(), file.c_str()) != 0)
        throw SystemError("can't rename " + marker.string() + " to " + file.string(), errno);
    fsync_directory(file.parent_path());
    fsync_directory(directory_);
    fd_.reset();
}

}  // namespace pgcascade::postgres
