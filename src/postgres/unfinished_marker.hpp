#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "base/file.hpp"

namespace pgcascade::postgres {

// The file kUnfinishedMarker of a directory that pgcascade is filling. It is locked while this object lives,
// so that two processes never fill or clear the same directory; the lock ends with the process, the file
// stays until remove(). Throws SystemError, and ConfigError where another process holds the lock.
class UnfinishedMarker {
  public:
    // Makes it, durably, or takes over the one that is there, whose content then stays.
    static UnfinishedMarker place(const std::filesystem::path& directory, const std::string& content,
                                  std::optional<FileOwner> owner);

    // Takes over the one that is there.
    static UnfinishedMarker take(const std::filesystem::path& directory);

    bool was_there() const { return was_there_; }

    // Removes everything else in the directory, durably. Follows no symbolic link.
    void clear_rest() const;

    // Both are a last act, and durable. become() makes the marker disappear and the file appear in one step:
    // its content must be that of the file already.
    void remove();
    void become(const std::filesystem::path& file);

  private:
    UnfinishedMarker(std::filesystem::path directory, FileDescriptor fd, bool was_there);
    void lock() const;

    std::filesystem::path directory_;
    FileDescriptor fd_;
    bool was_there_;
};

}  // namespace pgcascade::postgres
