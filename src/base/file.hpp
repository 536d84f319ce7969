#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <sys/types.h>

#include <pgcascade/error.hpp>

// Files that must survive: written whole, fsynced, in place or not there at all. Everything throws
// SystemError.

namespace pgcascade {

// Whether it failed for want of room, which may come again.
bool is_out_of_room(const SystemError& problem);

// Owns a file descriptor.
class FileDescriptor {
  public:
    FileDescriptor() = default;
    explicit FileDescriptor(int fd) : fd_(fd) {}
    FileDescriptor(FileDescriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    FileDescriptor& operator=(FileDescriptor&& other) noexcept {
        if (this != &other) {
            reset();
            fd_ = std::exchange(other.fd_, -1);
        }
        return *this;
    }
    ~FileDescriptor() { reset(); }

    int get() const { return fd_; }
    explicit operator bool() const { return fd_ >= 0; }
    void reset();

  private:
    int fd_ = -1;
};

// Whom a new file belongs to; nothing: whoever runs this process.
struct FileOwner {
    uid_t user = 0;
    gid_t group = 0;
};

// Writes all of it, whatever signals come.
void write_all(int fd, std::string_view bytes, const std::filesystem::path& name_for_errors);

std::string read_file(const std::filesystem::path& path);

// Temporary file beside it, fsync, rename, fsync of the directory: a reader or a crash sees the old or the
// new file, never a part of one.
void write_file_durably(const std::filesystem::path& path, std::string_view content, mode_t mode,
                        std::optional<FileOwner> owner = std::nullopt);

void fsync_file(int fd, const std::filesystem::path& name_for_errors);
void fsync_directory(const std::filesystem::path& directory);

}  // namespace pgcascade
