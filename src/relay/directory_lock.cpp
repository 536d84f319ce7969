#include "relay/directory_lock.hpp"

#include <cerrno>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <pgcascade/error.hpp>

namespace pgcascade::relay {

namespace fs = std::filesystem;

DirectoryLock::DirectoryLock(const fs::path& directory) {
    constexpr mode_t kPrivate = 0700;
    if (::mkdir(directory.c_str(), kPrivate) != 0 && errno != EEXIST)
        throw SystemError("can't make " + directory.string(), errno);
    const fs::path file = directory / "lock";
    fd_ = FileDescriptor{::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600)};
    if (!fd_) throw SystemError("can't open " + file.string(), errno);
    if (::flock(fd_.get(), LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK) throw SystemError("can't lock " + file.string(), errno);
        throw Error("another relay works in " + directory.string(),
                    "stop it first, or give this one its own directory");
    }
    // Of this second lock, which is free where the first one is, the kernel tells whose it is (F_GETLK).
    struct flock owner {};
    owner.l_type = F_WRLCK;
    if (::fcntl(fd_.get(), F_SETLK, &owner) != 0) throw SystemError("can't lock " + file.string(), errno);
}

}  // namespace pgcascade::relay
