#include "base/service_manager.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/clock.hpp"
#include "base/diagnostics.hpp"
#include "base/file.hpp"

namespace pgcascade::service_manager {

namespace {

void warn(std::string_view socket, const std::string& reason) {
    diagnostics::warning(
        fmt::format("can't tell the service manager at NOTIFY_SOCKET={}: {}", socket, reason));
}

void tell(std::string_view state) {
    const char* variable = std::getenv("NOTIFY_SOCKET");
    const std::string_view name = variable != nullptr ? variable : "";
    if (name.empty()) return;
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const bool is_abstract = name.front() == '@';
    if ((name.front() != '/' && !is_abstract) || name.size() >= sizeof address.sun_path)
        return warn(name, "it names no Unix socket");
    std::copy(name.begin(), name.end(), address.sun_path);
    if (is_abstract) address.sun_path[0] = '\0';

    const FileDescriptor socket{::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
    const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
    if (!socket || ::sendto(socket.get(), state.data(), state.size(), MSG_NOSIGNAL,
                            reinterpret_cast<const sockaddr*>(&address), length) < 0)
        warn(name, std::strerror(errno));
}

}  // namespace

void tell_ready() {
    tell("READY=1");
}

// With the time, which Type=notify-reload wants: how else would it know a READY=1 from one before?
void tell_reloading() {
    const auto since_start = steady_now().time_since_epoch();
    tell(fmt::format("RELOADING=1\nMONOTONIC_USEC={}",
                     std::chrono::duration_cast<std::chrono::microseconds>(since_start).count()));
}

void tell_stopping() {
    tell("STOPPING=1");
}

}  // namespace pgcascade::service_manager
