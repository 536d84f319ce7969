#include "base/file.hpp"

#include <cerrno>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <pgcascade/error.hpp>

namespace pgcascade {

bool is_out_of_room(const SystemError& problem) {
    return problem.error_number() == ENOSPC || problem.error_number() == EDQUOT;
}

void FileDescriptor::reset() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
}

void write_all(int fd, std::string_view bytes, const std::filesystem::path& name) {
    while (!bytes.empty()) {
        const ssize_t written = ::write(fd, bytes.data(), bytes.size());
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) throw SystemError("can't write " + name.string(), errno);
        bytes.remove_prefix(static_cast<std::size_t>(written));
    }
}

static FileDescriptor open_or_throw(const std::filesystem::path& path, int flags, mode_t mode = 0) {
    FileDescriptor fd{::open(path.c_str(), flags | O_CLOEXEC, mode)};
    if (!fd) throw SystemError("can't open " + path.string(), errno);
    return fd;
}

std::string read_file(const std::filesystem::path& path) {
    const FileDescriptor fd = open_or_throw(path, O_RDONLY);
    std::string content;
    char buffer[64 * 1024];
    for (;;) {
        const ssize_t count = ::read(fd.get(), buffer, sizeof buffer);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) throw SystemError("can't read " + path.string(), errno);
        if (count == 0) return content;
        content.append(buffer, static_cast<std::size_t>(count));
    }
}

void fsync_file(int fd, const std::filesystem::path& name) {
    if (::fsync(fd) != 0) throw SystemError("can't fsync " + name.string(), errno);
}

void fsync_directory(const std::filesystem::path& directory) {
    const FileDescriptor fd =
        open_or_throw(directory.empty() ? std::filesystem::path{"."} : directory, O_RDONLY | O_DIRECTORY);
    fsync_file(fd.get(), directory);
}

void write_file_durably(const std::filesystem::path& path, std::string_view content, mode_t mode,
                        std::optional<FileOwner> owner) {
    const std::filesystem::path temporary = path.string() + ".tmp";
    // A left-over of a crash may be a link or belong to somebody else: never write through it.
    if (::unlink(temporary.c_str()) != 0 && errno != ENOENT)
        throw SystemError("can't remove " + temporary.string(), errno);
    {
        const FileDescriptor fd = open_or_throw(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode);
        if (::fchmod(fd.get(), mode) != 0)
            throw SystemError("can't set the mode of " + temporary.string(), errno);
        if (owner && ::fchown(fd.get(), owner->user, owner->group) != 0)
            throw SystemError("can't give away " + temporary.string(), errno);
        write_all(fd.get(), content, temporary);
        fsync_file(fd.get(), temporary);
    }
    if (::rename(temporary.c_str(), path.c_str()) != 0)
        throw SystemError("can't rename " + temporary.string() + " to " + path.string(), errno);
    fsync_directory(path.parent_path());
}

}  // namespace pgcascade
