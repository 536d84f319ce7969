#include "log/feed_segment.hpp"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <string>
#include <vector>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <pgcascade/error.hpp>

#include "base/crc32c.hpp"

namespace pgcascade::log {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t kNameDigits = 16;
constexpr std::size_t kReadBytes = 256 * 1024;

FileDescriptor open_file(const fs::path& file, int flags) {
    FileDescriptor fd{::open(file.c_str(), flags | O_CLOEXEC | O_NOFOLLOW, 0600)};
    if (!fd) throw SystemError("can't open " + file.string(), errno);
    return fd;
}

std::uint64_t size_of(const FileDescriptor& fd, const fs::path& file) {
    struct stat status {};
    if (::fstat(fd.get(), &status) != 0) throw SystemError("can't look at " + file.string(), errno);
    return static_cast<std::uint64_t>(status.st_size);
}

// Fewer bytes than asked for only at the end of the file.
std::size_t read_at(const FileDescriptor& fd, const fs::path& file, std::uint64_t offset, char* buffer,
                    std::size_t bytes) {
    std::size_t done = 0;
    while (done < bytes) {
        const ssize_t count =
            ::pread(fd.get(), buffer + done, bytes - done, static_cast<off_t>(offset + done));
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) throw SystemError("can't read " + file.string(), errno);
        if (count == 0) break;
        done += static_cast<std::size_t>(count);
    }
    return done;
}

void write_at(const FileDescriptor& fd, const fs::path& file, std::uint64_t offset, std::string_view bytes) {
    while (!bytes.empty()) {
        const ssize_t count = ::pwrite(fd.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) throw SystemError("can't write " + file.string(), errno);
        offset += static_cast<std::uint64_t>(count);
        bytes.remove_prefix(static_cast<std::size_t>(count));
    }
}

void cut_at(const FileDescriptor& fd, const fs::path& file, std::uint64_t size) {
    if (::ftruncate(fd.get(), static_cast<off_t>(size)) != 0)
        throw SystemError("can't truncate " + file.string(), errno);
}

}  // namespace

fs::path FeedSegment::frames_file(const fs::path& directory, FeedPosition position) {
    return directory / fmt::format("{:016x}.frames", position.value);
}

fs::path FeedSegment::index_file(const fs::path& directory, FeedPosition position) {
    return directory / fmt::format("{:016x}.index", position.value);
}

std::optional<FeedPosition> FeedSegment::position_of(const fs::path& file) {
    const std::string digits = file.stem().string();
    const fs::path extension = file.extension();
    if (digits.size() != kNameDigits || (extension != ".frames" && extension != ".index"))
        return std::nullopt;
    FeedPosition position;
    const char* end = digits.data() + kNameDigits;
    if (std::from_chars(digits.data(), end, position.value, 16).ptr != end) return std::nullopt;
    return position;
}

FeedSegment::FeedSegment(const fs::path& directory, FeedPosition position, int flags)
    : frames_name_(frames_file(directory, position)),
      index_name_(index_file(directory, position)),
      frames_(open_file(frames_name_, flags)),
      index_(open_file(index_name_, flags)) {}

FeedSegment FeedSegment::create(const fs::path& directory, const FeedSegmentHeader& header) {
    // A file of that name may still be read by somebody: it must not change under their eyes. One after the
    // other, so that the position is never without a name.
    for (const fs::path& file :
         {frames_file(directory, header.position), index_file(directory, header.position)}) {
        if (::unlink(file.c_str()) != 0 && errno != ENOENT)
            throw SystemError("can't remove " + file.string(), errno);
        open_file(file, O_RDWR | O_CREAT | O_EXCL);
    }
    FeedSegment segment{directory, header.position, O_RDWR};
    const std::string bytes = to_bytes(header);
    write_at(segment.index_, segment.index_name_, 0, bytes);
    segment.header_ = header;
    segment.header_bytes_ = bytes.size();
    return segment;
}

FeedSegment::FeedSegment(const fs::path& directory, FeedPosition position)
    : FeedSegment(directory, position, O_RDWR) {
    read_header(position);
}

FeedSegment FeedSegment::open_for_reading(const fs::path& directory, FeedPosition position) {
    FeedSegment segment{directory, position, O_RDONLY};
    segment.read_header(position);
    return segment;
}

void FeedSegment::read_header(FeedPosition position) {
    std::string bytes(std::min<std::uint64_t>(size_of(index_, index_name_), kReadBytes), '\0');
    bytes.resize(read_at(index_, index_name_, 0, bytes.data(), bytes.size()));
    auto parsed = parse_feed_segment_header(bytes);
    if (!parsed && bytes.size() == kReadBytes) {  // a long preamble
        bytes.resize(std::min<std::uint64_t>(size_of(index_, index_name_), kLargestPreamble + kReadBytes));
        bytes.resize(read_at(index_, index_name_, 0, bytes.data(), bytes.size()));
        parsed = parse_feed_segment_header(bytes);
    }
    if (!parsed || parsed->header.position != position)
        throw LogCorrupt(fmt::format("{}, offset 0: the header is damaged", index_name_.string()));
    header_ = std::move(parsed->header);
    header_bytes_ = parsed->bytes;
}

FeedPosition FeedSegment::end() const {
    return position() + size_of(frames_, frames_name_);
}

std::size_t FeedSegment::entries() const {
    const std::uint64_t bytes = size_of(index_, index_name_);
    return bytes < header_bytes_ ? 0 : (bytes - header_bytes_) / kFeedEntryBytes;
}

std::optional<FeedEntry> FeedSegment::entry(std::size_t number) const {
    char record[kFeedEntryBytes];
    const std::size_t count =
        read_at(index_, index_name_, index_offset(number), static_cast<char*>(record), sizeof record);
    return read_entry({static_cast<const char*>(record), count});
}

std::optional<FeedEntry> FeedSegment::read_entry(std::string_view record) const {
    auto entry = parse_feed_entry(record);
    if (entry && entry->begin < position()) return std::nullopt;
    return entry;
}

void FeedSegment::for_each_entry(
    const std::function<bool(std::size_t, const std::optional<FeedEntry>&)>& take) const {
    std::vector<char> records(kReadBytes / kFeedEntryBytes * kFeedEntryBytes);
    for (std::size_t number = 0;;) {
        const std::size_t bytes =
            read_at(index_, index_name_, index_offset(number), records.data(), records.size());
        for (std::size_t at = 0; at + kFeedEntryBytes <= bytes; at += kFeedEntryBytes, ++number)
            if (!take(number, read_entry({records.data() + at, kFeedEntryBytes}))) return;
        if (bytes < records.size()) return;
    }
}

std::uint32_t FeedSegment::crc_of(const FeedEntry& entry, const OnRead& on_read) const {
    std::vector<char> buffer(std::min<std::uint64_t>(kReadBytes, bytes_between(entry.begin, entry.end)));
    Crc32c crc;
    FeedPosition at = entry.begin;
    while (at < entry.end) {
        const std::size_t wanted = std::min<std::uint64_t>(buffer.size(), bytes_between(at, entry.end));
        const std::size_t count =
            read_at(frames_, frames_name_, bytes_between(position(), at), buffer.data(), wanted);
        crc.update({buffer.data(), count});
        if (on_read) on_read(count);
        if (count < wanted) break;
        at = at + count;
    }
    return crc.value();
}

void FeedSegment::write_frames(FeedPosition at, std::string_view frames) {
    write_at(frames_, frames_name_, bytes_between(position(), at), frames);
}

void FeedSegment::write_entries(std::size_t first, std::string_view records) {
    write_at(index_, index_name_, index_offset(first), records);
}

void FeedSegment::cut(FeedPosition end, std::size_t entries) {
    cut_at(index_, index_name_, index_offset(entries));
    cut_at(frames_, frames_name_, bytes_between(position(), end));
}

void FeedSegment::sync() const {
    if (::fdatasync(frames_.get()) != 0) throw SystemError("can't fsync " + frames_name_.string(), errno);
    if (::fdatasync(index_.get()) != 0) throw SystemError("can't fsync " + index_name_.string(), errno);
}

}  // namespace pgcascade::log
