#include "stream/output.hpp"

#include <algorithm>
#include <cerrno>
#include <climits>

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <pgcascade/error.hpp>

#include "base/stop_signal.hpp"

namespace pgcascade {

namespace {

bool can_block(int fd) {
    struct stat status {};
    if (::fstat(fd, &status) != 0) throw SystemError("can't use standard output", errno);
    return S_ISFIFO(status.st_mode) || S_ISSOCK(status.st_mode) || ::isatty(fd) == 1;
}

bool is_regular_file(int fd) {
    struct stat status {};
    return ::fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
}

bool is_pipe(const std::filesystem::path& path) {
    struct stat status {};
    return ::stat(path.c_str(), &status) == 0 && S_ISFIFO(status.st_mode);
}

FileDescriptor open_file(const std::filesystem::path& path) {
    FileDescriptor file{::open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666)};
    if (!file) throw SystemError("can't open " + path.string(), errno);
    return file;
}

// Waits for a reader, as a shell does; but a shell can be interrupted.
FileDescriptor open_pipe(const std::filesystem::path& path, int stop_fd,
                         const std::function<void(const std::string& text)>& on_notice) {
    constexpr int kLookMs = 100;
    for (bool told = false;; told = true) {
        FileDescriptor pipe{::open(path.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC)};
        if (pipe) {
            ::fcntl(pipe.get(), F_SETFL, O_WRONLY);
            return pipe;
        }
        if (errno != ENXIO) throw SystemError("can't open " + path.string(), errno);
        if (!told && on_notice) on_notice(path.string() + ": waiting for somebody to read it");
        wait_for(/*fd=*/-1, 0, kLookMs, stop_fd);
    }
}

std::string read_at(int fd, off_t offset, std::size_t count, const std::filesystem::path& path) {
    std::string bytes(count, '\0');
    std::size_t done = 0;
    while (done < count) {
        const ssize_t got = ::pread(fd, bytes.data() + done, count - done, offset + static_cast<off_t>(done));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) throw SystemError("can't read " + path.string(), errno);
        if (got == 0) break;
        done += static_cast<std::size_t>(got);
    }
    bytes.resize(done);
    return bytes;
}

// The position after the last newline; 0 where there is none.
off_t end_of_last_line(int fd, off_t size, const std::filesystem::path& path) {
    constexpr off_t kStep = 64 * 1024;
    for (off_t end = size; end > 0;) {
        const off_t begin = std::max<off_t>(0, end - kStep);
        const auto newline = read_at(fd, begin, static_cast<std::size_t>(end - begin), path).rfind('\n');
        if (newline != std::string::npos) return begin + static_cast<off_t>(newline) + 1;
        end = begin;
    }
    return 0;
}

void cut_torn_line(int fd, const std::filesystem::path& path,
                   const std::function<void(const std::string& text)>& on_notice) {
    struct stat status {};
    if (::fstat(fd, &status) != 0) throw SystemError("can't look at " + path.string(), errno);
    const off_t end = end_of_last_line(fd, status.st_size, path);
    if (end == status.st_size) return;
    // All formats are lines of JSON objects; anything else is somebody's own file.
    if (read_at(fd, end, 1, path) != "{")
        throw ConfigError(path.string() + " ends with an unfinished line that no stream has written",
                          "name another file, or complete that line");
    if (::ftruncate(fd, end) != 0) throw SystemError("can't truncate " + path.string(), errno);
    fsync_file(fd, path);
    if (on_notice)
        on_notice(fmt::format(
            "{}: cut off the last {} bytes, the beginning of a line that a run before left unfinished",
            path.string(), status.st_size - end));
}

void lock(int fd, const std::filesystem::path& path) {
    if (::flock(fd, LOCK_EX | LOCK_NB) == 0) return;
    if (errno != EWOULDBLOCK) throw SystemError("can't lock " + path.string(), errno);
    throw SystemError(path.string() + " is being written by another pgcascade", 0,
                      "give each stream a file of its own");
}

}  // namespace

Output::Output(int fd, std::string name, int stop_fd)
    : fd_(fd), name_(std::move(name)), stop_fd_(stop_fd), can_block_(can_block(fd)) {
    buffer_.reserve(2 * kBufferBytes);
}

Output Output::append_to(const std::filesystem::path& path, int stop_fd,
                         const std::function<void(const std::string& text)>& on_notice) {
    // With an end of our own to read from, a pipe would never tell that its reader has gone away.
    FileDescriptor file = is_pipe(path) ? open_pipe(path, stop_fd, on_notice) : open_file(path);
    Output output{file.get(), path.string(), stop_fd};
    output.is_file_ = is_regular_file(file.get());
    if (output.is_file_) {
        lock(file.get(), path);
        cut_torn_line(file.get(), path, on_notice);
        fsync_directory(path.parent_path());  // it may be new
    }
    output.owned_ = std::move(file);
    return output;
}

void Output::write() {
    std::size_t done = 0;
    try {
        while (done < buffer_.size()) {
            const std::size_t count = write_some(std::string_view{buffer_}.substr(done));
            done += count;
            written_ += count;
        }
    } catch (...) {
        buffer_.erase(0, done);
        throw;
    }
    buffer_.clear();
    if (buffer_.capacity() > kBufferBytesMax) std::string{}.swap(buffer_);  // one huge row
}

// A blocking write would not see that a stop was asked for. PIPE_BUF is what a pipe that polls writable takes
// without blocking (pipe(7)).
std::size_t Output::write_some(std::string_view bytes) {
    for (;;) {
        if (can_block_) {
            pollfd poll_fds[2] = {{fd_, POLLOUT, 0}, {stop_fd_, POLLIN, 0}};
            if (::poll(poll_fds, 2, -1) < 0 && errno != EINTR) throw SystemError("poll failed", errno);
            if (poll_fds[0].revents == 0 && poll_fds[1].revents != 0) throw Stopped();
            if (poll_fds[0].revents == 0) continue;
            bytes = bytes.substr(0, PIPE_BUF);
        }
        const ssize_t count = ::write(fd_, bytes.data(), bytes.size());
        if (count >= 0) return static_cast<std::size_t>(count);
        if (errno == EINTR || errno == EAGAIN) continue;
        if (errno == EPIPE) throw_reader_gone();
        throw SystemError("can't write to " + name_, errno);
    }
}

void Output::throw_reader_gone() const {
    throw SystemError(
        "can't write to " + name_, EPIPE,
        "the reader has gone away; what was not written comes again with the next run on this slot");
}

void Output::sync() {
    if (!needs_sync()) return;
    fsync_file(fd_, name_);
    synced_ = written_;
}

}  // namespace pgcascade
