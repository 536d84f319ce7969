#include "log/wal_file.hpp"

#include <cerrno>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <pgcascade/error.hpp>

namespace pgcascade::log {

namespace fs = std::filesystem;

WalFile::WalFile(fs::path name, int flags)
    : name_(std::move(name)), fd_(::open(name_.c_str(), flags | O_CLOEXEC | O_NOFOLLOW, 0600)) {
    if (!fd_) throw SystemError("can't open " + name_.string(), errno);
}

WalFile WalFile::create(fs::path name) {
    // The old one may still be read by somebody: it must not change under their eyes.
    remove_file(name);
    return {std::move(name), O_RDWR | O_CREAT | O_EXCL};
}

WalFile WalFile::open(fs::path name) {
    return {std::move(name), O_RDWR};
}

WalFile WalFile::open_for_reading(fs::path name) {
    return {std::move(name), O_RDONLY};
}

std::uint64_t WalFile::bytes() const {
    struct stat status {};
    if (::fstat(fd_.get(), &status) != 0) throw SystemError("can't look at " + name_.string(), errno);
    return static_cast<std::uint64_t>(status.st_size);
}

std::size_t WalFile::read(std::uint64_t offset, char* buffer, std::size_t bytes) const {
    std::size_t done = 0;
    while (done < bytes) {
        const ssize_t count =
            ::pread(fd_.get(), buffer + done, bytes - done, static_cast<off_t>(offset + done));
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) throw SystemError("can't read " + name_.string(), errno);
        if (count == 0) break;
        done += static_cast<std::size_t>(count);
    }
    return done;
}

void WalFile::write(std::uint64_t offset, std::string_view bytes) {
    while (!bytes.empty()) {
        const ssize_t count = ::pwrite(fd_.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) throw SystemError("can't write " + name_.string(), errno);
        offset += static_cast<std::uint64_t>(count);
        bytes.remove_prefix(static_cast<std::size_t>(count));
    }
}

void WalFile::cut(std::uint64_t bytes) {
    if (::ftruncate(fd_.get(), static_cast<off_t>(bytes)) != 0)
        throw SystemError("can't truncate " + name_.string(), errno);
}

void WalFile::sync() const {
    if (::fdatasync(fd_.get()) != 0) throw SystemError("can't fsync " + name_.string(), errno);
}

void remove_file(const fs::path& file) {
    if (::unlink(file.c_str()) != 0 && errno != ENOENT)
        throw SystemError("can't remove " + file.string(), errno);
}

void rename_file(const fs::path& from, const fs::path& to) {
    if (::rename(from.c_str(), to.c_str()) != 0)
        throw SystemError("can't rename " + from.string() + " to " + to.string(), errno);
}

}  // namespace pgcascade::log
