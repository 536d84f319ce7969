#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string_view>

#include "base/file.hpp"

namespace pgcascade::log {

// One file of a log of WAL, read and written at offsets. Reading is safe from any thread, beside one writer.
// Everything throws SystemError.
class WalFile {
  public:
    // A new one; replaces one of that name. Nothing is durable until sync() and a sync of the directory.
    static WalFile create(std::filesystem::path name);

    static WalFile open(std::filesystem::path name);
    static WalFile open_for_reading(std::filesystem::path name);

    const std::filesystem::path& name() const { return name_; }  // when it was opened
    int fd() const { return fd_.get(); }
    std::uint64_t bytes() const;  // as it is now

    // Fewer bytes than asked for only at the end of the file.
    std::size_t read(std::uint64_t offset, char* buffer, std::size_t bytes) const;

    // One that failed half done can be done again.
    void write(std::uint64_t offset, std::string_view bytes);
    void cut(std::uint64_t bytes);
    void sync() const;

  private:
    WalFile(std::filesystem::path name, int flags);

    std::filesystem::path name_;
    FileDescriptor fd_;
};

// It may be gone already.
void remove_file(const std::filesystem::path& file);

void rename_file(const std::filesystem::path& from, const std::filesystem::path& to);

}  // namespace pgcascade::log
