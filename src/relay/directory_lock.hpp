#pragma once

#include <filesystem>

#include "base/file.hpp"

namespace pgcascade::relay {

// One relay at a time works in a directory, which is made where it is missing. The lock ends with the
// process, however that ends; who holds it is told by postgres/local_relay.hpp.
class DirectoryLock {
  public:
    // Throws Error where another relay has it, SystemError.
    explicit DirectoryLock(const std::filesystem::path& directory);

  private:
    FileDescriptor fd_;
};

}  // namespace pgcascade::relay
