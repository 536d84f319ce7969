#pragma once

#include <cstdint>
#include <filesystem>
#include <string_view>

#include "base/file.hpp"

namespace pgcascade {

// Writes a new file whose size is known beforehand, from its start to its end. A large one goes past the page
// cache (O_DIRECT) where the file system can: copying a database costs a tenth of the processor time then,
// and does not push out what the machine's servers have cached. For that, write() has to get memory aligned
// to kAlignment, and whole multiples of it but for the last piece; anything else works, but more slowly.
// Nothing is durable until the file system is synced. Everything throws SystemError.
class SizedFile {
  public:
    static constexpr std::size_t kAlignment = 4096;  // of memory and offset; no disk asks for more

    // Reserves the room, so that a full disk shows before the work is done.
    SizedFile(FileDescriptor fd, std::uint64_t bytes, std::filesystem::path name_for_errors);

    void write(std::string_view bytes);

    int fd() const { return fd_.get(); }

  private:
    void set_direct(bool wanted);

    FileDescriptor fd_;
    std::filesystem::path name_;
    std::uint64_t offset_ = 0;
    bool may_be_direct_ = false;
    bool is_direct_ = false;
};

}  // namespace pgcascade
