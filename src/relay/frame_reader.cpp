#include "relay/frame_reader.hpp"

#include <algorithm>
#include <cerrno>

#include <fmt/format.h>
#include <unistd.h>

#include <pgcascade/error.hpp>

#include "base/bytes.hpp"
#include "protocol/backend_message.hpp"

namespace pgcascade::relay {

namespace {

constexpr std::size_t kReadBytes = 64 * 1024;
constexpr std::size_t kXLogDataHeaderBytes = 25;

}  // namespace

// True once that many bytes stand in the buffer.
bool FrameReader::fill(std::size_t bytes) {
    if (buffer_.size() - used_ >= bytes) return true;
    buffer_.erase(0, used_);
    used_ = 0;
    const std::uint64_t left = bytes_between(next_, to_);
    const std::size_t have = buffer_.size();
    buffer_.resize(have + std::min<std::uint64_t>(left, std::max(bytes - have, kReadBytes)));
    std::size_t end = have;
    while (end < buffer_.size()) {
        const ssize_t count = ::pread(segment_.frames_fd(), buffer_.data() + end, buffer_.size() - end,
                                      static_cast<off_t>(bytes_between(segment_.position(), next_)));
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) throw SystemError("can't read " + segment_.frames_file().string(), errno);
        if (count == 0) break;
        end += static_cast<std::size_t>(count);
        next_ = next_ + static_cast<std::uint64_t>(count);
    }
    buffer_.resize(end);
    return end >= bytes;
}

// Of the frame whose header stands in the buffer.
std::size_t FrameReader::read_length() const {
    ByteReader header{std::string_view{buffer_}.substr(used_, protocol::kCopyDataHeaderBytes)};
    const char type = static_cast<char>(header.u8());
    const std::size_t bytes = header.u32() + std::size_t{1};
    if (type != 'd' || bytes <= protocol::kCopyDataHeaderBytes)
        throw LogCorrupt(fmt::format("{}, offset {}: no frame stands here", segment_.frames_file().string(),
                                     bytes_between(segment_.position(), next_) - (buffer_.size() - used_)));
    return bytes;
}

std::uint64_t FrameReader::next_bytes() {
    if (!fill(protocol::kCopyDataHeaderBytes)) return 0;
    const std::size_t bytes = read_length();
    const std::size_t buffered = std::min(bytes, buffer_.size() - used_);
    used_ += buffered;
    next_ = next_ + (bytes - buffered);
    return bytes;
}

std::optional<FrameReader::Frame> FrameReader::next() {
    if (!fill(protocol::kCopyDataHeaderBytes)) return std::nullopt;
    const std::size_t bytes = read_length();
    if (!fill(bytes)) return std::nullopt;
    Frame frame;
    frame.bytes = std::string_view{buffer_}.substr(used_, bytes);
    if (bytes > protocol::kCopyDataHeaderBytes + kXLogDataHeaderBytes)
        frame.payload = frame.bytes.substr(protocol::kCopyDataHeaderBytes + kXLogDataHeaderBytes);
    used_ += bytes;
    return frame;
}

}  // namespace pgcascade::relay
