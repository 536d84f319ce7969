#pragma once

#include <filesystem>

#include "base/file.hpp"

namespace pgcascade::tree {

// Keeps two processes from changing the servers of one file at the same time: a lock on FILE.lock beside it,
// which the kernel gives back however the holder ends. The file stays, and holds the pid of the last
// holder that may write it.
class ApplyLock {
  public:
    // Throws ConfigError that names the holder's pid, SystemError where the lock file can't be made.
    explicit ApplyLock(const std::filesystem::path& cascade_file);

  private:
    FileDescriptor fd_;
};

}  // namespace pgcascade::tree
