#pragma once

#include <functional>
#include <memory>
#include <string>
#include <thread>

#include <arpa/inet.h>
#include <fmt/format.h>
#include <libpq-fe.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <pgcascade/error.hpp>

#include "base/file.hpp"
#include "protocol/frontend_message.hpp"

// A real client, libpq, that talks to a server made of the functions under test.

namespace pgcascade::protocol {

// The server's end of one connection.
class LibpqPeer {
  public:
    explicit LibpqPeer(FileDescriptor socket) : socket_(std::move(socket)) {}

    // The whole first packet.
    std::string first_packet() {
        while (!first_packet_length(received_) || received_.size() < *first_packet_length(received_))
            receive();
        return take(*first_packet_length(received_));
    }

    struct Message {
        char type = 0;
        std::string body;
    };

    Message message() {
        for (;;) {
            std::string_view rest = received_;
            if (const auto found = take_message(rest, 1 << 20)) {
                Message whole{found->type, std::string{found->body}};
                received_.erase(0, received_.size() - rest.size());
                return whole;
            }
            receive();
        }
    }

    void send(const std::string& bytes) { write_all(socket_.get(), bytes, "the client's socket"); }

  private:
    void receive() {
        char buffer[4096];
        const ssize_t count = ::read(socket_.get(), buffer, sizeof buffer);
        if (count <= 0) throw ConnectionError("the client has gone away");
        received_.append(buffer, static_cast<std::size_t>(count));
    }

    std::string take(std::size_t bytes) {
        std::string taken = received_.substr(0, bytes);
        received_.erase(0, bytes);
        return taken;
    }

    FileDescriptor socket_;
    std::string received_;
};

// Serves one connection in a thread of its own, to its end.
class LibpqServer {
  public:
    explicit LibpqServer(std::function<void(LibpqPeer&)> serve)
        : listener_(::socket(AF_INET, SOCK_STREAM, 0)) {
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof address;
        auto* generic = reinterpret_cast<sockaddr*>(&address);
        if (::bind(listener_.get(), generic, size) != 0 || ::listen(listener_.get(), 1) != 0 ||
            ::getsockname(listener_.get(), generic, &size) != 0)
            throw SystemError("can't listen on the loopback interface", errno);
        port_ = ntohs(address.sin_port);
        thread_ = std::thread{[this, serve = std::move(serve)] {
            LibpqPeer peer{FileDescriptor{::accept(listener_.get(), nullptr, nullptr)}};
            try {
                serve(peer);
            } catch (const Error& problem) {
                failure_ = problem.what();
            }
        }};
    }
    LibpqServer(const LibpqServer&) = delete;
    LibpqServer& operator=(const LibpqServer&) = delete;
    ~LibpqServer() { thread_.join(); }

    using Client = std::unique_ptr<PGconn, decltype(&PQfinish)>;

    Client connect(const std::string& more) const {
        const std::string conninfo =
            fmt::format("host=127.0.0.1 port={} user=reader dbname=shop gssencmode=disable {}", port_, more);
        return {PQconnectdb(conninfo.c_str()), PQfinish};
    }

    // Of the thread; to be read once the client is gone.
    const std::string& failure() const { return failure_; }

  private:
    FileDescriptor listener_;
    std::uint16_t port_ = 0;
    std::string failure_;
    std::thread thread_;
};

}  // namespace pgcascade::protocol
