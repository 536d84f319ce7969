#include "base/service_manager.hpp"

#include <cstdlib>
#include <optional>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/file.hpp"
#include "unit/temporary_directory.hpp"

namespace pgcascade::service_manager {

namespace {

using testing::MatchesRegex;

// NOTIFY_SOCKET as the test wants it, and as it was afterwards.
class NotifySocket {
  public:
    explicit NotifySocket(const std::string& value) {
        if (const char* before = std::getenv("NOTIFY_SOCKET")) before_ = before;
        ::setenv("NOTIFY_SOCKET", value.c_str(), /*replace=*/1);
    }
    ~NotifySocket() {
        if (before_)
            ::setenv("NOTIFY_SOCKET", before_->c_str(), /*replace=*/1);
        else
            ::unsetenv("NOTIFY_SOCKET");
    }
    NotifySocket(const NotifySocket&) = delete;
    NotifySocket& operator=(const NotifySocket&) = delete;

  private:
    std::optional<std::string> before_;
};

std::string received(int socket) {
    std::string bytes(4096, '\0');
    const ssize_t count = ::recv(socket, bytes.data(), bytes.size(), MSG_DONTWAIT);
    bytes.resize(count < 0 ? 0 : static_cast<std::size_t>(count));
    return bytes;
}

}  // namespace

TEST(ServiceManager, GetsOneDatagramForEachState) {
    const TemporaryDirectory directory;
    const std::string path = directory.path() / "notify";
    const FileDescriptor socket{::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    ASSERT_EQ(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    const NotifySocket variable{path};
    tell_ready();
    EXPECT_EQ(received(socket.get()), "READY=1");
    tell_reloading();
    EXPECT_THAT(received(socket.get()), MatchesRegex("RELOADING=1\nMONOTONIC_USEC=[0-9]+"));
    tell_stopping();
    EXPECT_EQ(received(socket.get()), "STOPPING=1");
    EXPECT_EQ(received(socket.get()), "");
}

TEST(ServiceManager, WhatIsNoSocketIsAWarning) {
    for (const std::string& name :
         {std::string{}, std::string{"relative"}, std::string{"@nobody"}, "/" + std::string(200, 'x')}) {
        const NotifySocket variable{name};
        EXPECT_NO_THROW(tell_ready()) << name;
    }
}

}  // namespace pgcascade::service_manager
