#include "tree/apply_lock.hpp"

#include <cerrno>
#include <string>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <pgcascade/error.hpp>

namespace pgcascade::tree {

ApplyLock::ApplyLock(const std::filesystem::path& cascade_file) {
    const std::filesystem::path file = cascade_file.string() + ".lock";
    // Servers outlive this process: close-on-exec keeps the lock from living on in them.
    fd_ = FileDescriptor{::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644)};
    // One that another user has made can be locked as well, if not written.
    const bool is_ours = static_cast<bool>(fd_);
    if (!is_ours && errno == EACCES)
        fd_ = FileDescriptor{::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW)};
    if (!fd_)
        throw SystemError("can't open " + file.string(), errno,
                          "it lies beside the cascade file, so that two can't change its servers at once");
    if (::flock(fd_.get(), LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK) throw SystemError("can't lock " + file.string(), errno);
        std::string holder = read_file(file);
        while (!holder.empty() && holder.back() == '\n') holder.pop_back();
        throw ConfigError(fmt::format("process {} is changing the servers of {} already",
                                      holder.empty() ? "of somebody" : holder, cascade_file.string()),
                          "wait until it has ended, or stop it");
    }
    // The number only serves the message above: a full disk is no reason not to go on.
    const std::string number = fmt::format("{}\n", ::getpid());
    if (is_ours && ::ftruncate(fd_.get(), 0) == 0)
        static_cast<void>(::pwrite(fd_.get(), number.data(), number.size(), 0));
}

}  // namespace pgcascade::tree
