#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "base/file.hpp"

// Where the lines of a stream go: standard output, or a file that each run continues. Lines are gathered in a
// buffer and written in large steps.
//
// A file is locked, so that two runs never mix their lines, and only ever appended to. What a killed run or a
// full disk has left of a last line is cut off when the file is opened again: its transaction was not
// confirmed, so it comes again, whole. Earlier lines of that transaction stay and come again too, with the
// same (commit_lsn, ordinal).

namespace pgcascade {

class Output {
  public:
    // `fd` stays the caller's. A pipe, socket or terminal whose reader is slow is waited for; the wait ends
    // with Stopped when stop_fd gets readable, never while the reader still takes something.
    Output(int fd, std::string name, int stop_fd);

    // Throws SystemError where the file can't be opened or is locked, and ConfigError where what it ends with
    // was not written by a stream. `on_notice` is told what was cut off.
    static Output append_to(const std::filesystem::path& path, int stop_fd,
                            const std::function<void(const std::string& text)>& on_notice);

    // To append whole lines to.
    std::string& buffer() { return buffer_; }
    bool is_full() const { return buffer_.size() >= kBufferBytes; }

    // Hands the buffer to the kernel. Throws Stopped and SystemError; then written() tells how far it came.
    void write();

    // Where the output is a file: until the disk has what was written. Throws SystemError.
    void sync();
    bool needs_sync() const { return is_file_ && synced_ < written_; }

    // Bytes since the beginning of this run.
    std::uint64_t appended() const { return written_ + buffer_.size(); }
    std::uint64_t written() const { return written_; }

    int fd() const { return fd_; }
    [[noreturn]] void throw_reader_gone() const;

  private:
    static constexpr std::size_t kBufferBytes = 64 * 1024;
    static constexpr std::size_t kBufferBytesMax = 1024 * 1024;

    std::size_t write_some(std::string_view bytes);

    FileDescriptor owned_;
    int fd_;
    std::string name_;
    int stop_fd_;
    bool can_block_;
    bool is_file_ = false;
    std::string buffer_;
    std::uint64_t written_ = 0;
    std::uint64_t synced_ = 0;
};

}  // namespace pgcascade
