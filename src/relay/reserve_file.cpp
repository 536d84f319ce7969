#include "relay/reserve_file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include "base/file.hpp"

namespace pgcascade::relay {

namespace {

constexpr off_t kBytes = 1 << 20;  // several times the file of as many slots as there can be

}  // namespace

ReserveFile::ReserveFile(const std::filesystem::path& directory) : file_(directory / "reserve") {
    take();
}

void ReserveFile::take() noexcept {
    if (is_taken_) return;
    const FileDescriptor file{::open(file_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600)};
    if (!file) return;
    is_taken_ = ::posix_fallocate(file.get(), 0, kBytes) == 0;
    if (!is_taken_) ::unlink(file_.c_str());
}

bool ReserveFile::release() noexcept {
    if (!is_taken_) return false;
    is_taken_ = false;
    return ::unlink(file_.c_str()) == 0;
}

}  // namespace pgcascade::relay
