#include "base/sized_file.hpp"

#include <cerrno>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

#include <pgcascade/error.hpp>

namespace pgcascade {

namespace {

// Below it, waiting for the disk costs more than the copy into the page cache.
constexpr std::uint64_t kDirectFromBytes = 256 * 1024;

bool is_aligned(std::uint64_t number) {
    return number % SizedFile::kAlignment == 0;
}

}  // namespace

SizedFile::SizedFile(FileDescriptor fd, std::uint64_t bytes, std::filesystem::path name)
    : fd_(std::move(fd)), name_(std::move(name)), may_be_direct_(bytes >= kDirectFromBytes) {
    if (!may_be_direct_) return;
    while (::fallocate(fd_.get(), 0, 0, static_cast<off_t>(bytes)) != 0) {
        if (errno == EINTR) continue;
        if (errno == EOPNOTSUPP || errno == ENOSYS) return;  // room is found while writing, then
        throw SystemError("can't reserve room for " + name_.string(), errno);
    }
}

void SizedFile::set_direct(bool wanted) {
    if (wanted == is_direct_) return;
    const int flags = ::fcntl(fd_.get(), F_GETFL);
    if (flags >= 0 && ::fcntl(fd_.get(), F_SETFL, wanted ? flags | O_DIRECT : flags & ~O_DIRECT) == 0)
        is_direct_ = wanted;
    else
        may_be_direct_ = false;  // not on this file system
}

void SizedFile::write(std::string_view bytes) {
    while (!bytes.empty()) {
        set_direct(may_be_direct_ && bytes.size() >= kAlignment && is_aligned(offset_) &&
                   is_aligned(reinterpret_cast<std::uintptr_t>(bytes.data())));
        const std::size_t size = is_direct_ ? bytes.size() / kAlignment * kAlignment : bytes.size();
        const ssize_t written = ::write(fd_.get(), bytes.data(), size);
        if (written < 0 && errno == EINTR) continue;
        if (written < 0 && errno == EINVAL && is_direct_) {
            may_be_direct_ = false;  // some file systems take the flag, but not the write
            continue;
        }
        if (written < 0) throw SystemError("can't write " + name_.string(), errno);
        offset_ += static_cast<std::uint64_t>(written);
        bytes.remove_prefix(static_cast<std::size_t>(written));
    }
}

}  // namespace pgcascade
