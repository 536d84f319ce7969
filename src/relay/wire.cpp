#include "relay/wire.hpp"

#include <algorithm>
#include <array>
#include <cerrno>

#include <boost/asio/buffer.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/sendfile.h>
#include <unistd.h>

#include <pgcascade/error.hpp>

namespace pgcascade::relay {

using asio::use_awaitable;

namespace {

constexpr std::size_t kReadBytes = 16 * 1024;
constexpr std::size_t kEncryptedReadBytes = 4096;  // for each of thousands of clients that say little
constexpr std::size_t kFileBytesAtOnce = 1 << 20;  // then the others of the loop have their turn
constexpr std::size_t kCopiedBytesAtOnce = 128 * 1024;

Address peer_of(Wire::Socket& socket) {
    return Address::of(*socket.remote_endpoint().data());
}

// Keepalives and short transactions must not wait for the next one. Unix sockets have no such option.
void send_at_once(Wire::Socket& socket) {
    const int on = 1;
    static_cast<void>(::setsockopt(socket.native_handle(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on));
}

[[noreturn]] void throw_error(int error_number) {
    throw boost::system::system_error{error_number, boost::system::system_category()};
}

// A client whose host is gone without a word is noticed even where it streams nothing, as by a server.
void notice_dead_peers(Wire::Socket& socket) {
    boost::system::error_code not_of_this_kind;
    socket.set_option(asio::socket_base::keep_alive{true}, not_of_this_kind);
}

}  // namespace

Wire::Wire(Socket socket) : socket_(std::move(socket)), peer_(peer_of(socket_)) {
    socket_.non_blocking(true);
    send_at_once(socket_);
    notice_dead_peers(socket_);
}

asio::awaitable<void> Wire::start_tls(const Tls& tls) {
    auto encrypted = std::make_unique<asio::ssl::stream<Socket&>>(socket_, *tls.context);
    co_await encrypted->async_handshake(asio::ssl::stream_base::server, use_awaitable);
    tls_ = std::move(encrypted);
    tls_binding_ = tls.binding;
}

asio::awaitable<void> Wire::receive_more() {
    received_.erase(0, used_);
    used_ = 0;
    if (tls_) co_return co_await receive_encrypted();
    do {  // waits first: a client that never ends to talk must let the others have their turn
        co_await socket_.async_wait(Socket::wait_read, use_awaitable);
    } while (!take_received());
}

// What has come by now; false where nothing has. Thousands of clients that say little have no buffer while
// they are waited for.
bool Wire::take_received() {
    std::array<char, kReadBytes> bytes;  // NOLINT(cppcoreguidelines-pro-type-member-init): read into
    boost::system::error_code failure;
    const std::size_t count = socket_.read_some(asio::buffer(bytes), failure);
    if (failure == asio::error::would_block) return false;
    if (failure) throw boost::system::system_error{failure};
    received_.append(bytes.data(), count);
    return true;
}

asio::awaitable<void> Wire::receive_encrypted() {
    const std::size_t have = received_.size();
    received_.resize(have + std::max(kEncryptedReadBytes, have));
    const asio::mutable_buffer room = asio::buffer(received_.data() + have, received_.size() - have);
    std::size_t count = 0;
    try {
        count = co_await tls_->async_read_some(room, use_awaitable);
    } catch (...) {  // cancelled, perhaps: the next read goes on here
        received_.resize(have);
        throw;
    }
    received_.resize(have + count);
}

asio::awaitable<protocol::FirstPacket> Wire::read_first_packet() {
    for (;;) {
        const auto unread = std::string_view{received_}.substr(used_);
        const auto length = protocol::first_packet_length(unread);
        if (length && *length <= unread.size()) {
            protocol::FirstPacket packet = protocol::parse_first_packet(unread.substr(0, *length));
            used_ += *length;
            co_return packet;
        }
        co_await receive_more();
    }
}

asio::awaitable<protocol::FrontendMessage> Wire::read_message(std::size_t limit) {
    for (;;) {
        std::string_view unread = std::string_view{received_}.substr(used_);
        const std::size_t before = unread.size();
        if (const auto message = protocol::take_message(unread, limit)) {
            used_ += before - unread.size();
            co_return *message;
        }
        co_await receive_more();
    }
}

asio::awaitable<void> Wire::send(std::string_view bytes) {
    if (tls_)
        co_await asio::async_write(*tls_, asio::buffer(bytes.data(), bytes.size()), use_awaitable);
    else
        co_await asio::async_write(socket_, asio::buffer(bytes.data(), bytes.size()), use_awaitable);
    add_sent(bytes.size());
}

void Wire::add_sent(std::uint64_t bytes) const {
    if (sent_bytes_ != nullptr) sent_bytes_->fetch_add(bytes, std::memory_order_relaxed);
}

asio::awaitable<void> Wire::flush() {
    if (out_.empty()) co_return;
    const std::string bytes = std::exchange(out_, {});
    is_whole_ = false;
    co_await send(bytes);
    is_whole_ = true;
}

asio::awaitable<std::uint64_t> Wire::send_file(int fd, std::uint64_t offset, std::uint64_t bytes) {
    co_await flush();
    is_whole_ = false;
    std::uint64_t done = 0;
    std::string copied;
    while (done < bytes) {
        if (tls_) {
            copied.resize(std::min<std::uint64_t>(kCopiedBytesAtOnce, bytes - done));
            const ssize_t count =
                ::pread(fd, copied.data(), copied.size(), static_cast<off_t>(offset + done));
            if (count < 0) throw_error(errno);
            if (count == 0) break;
            co_await send(std::string_view{copied}.substr(0, static_cast<std::size_t>(count)));
            done += static_cast<std::uint64_t>(count);
            continue;
        }
        off_t at = static_cast<off_t>(offset + done);
        const ssize_t count = ::sendfile(socket_.native_handle(), fd, &at,
                                         std::min<std::uint64_t>(kFileBytesAtOnce, bytes - done));
        if (count == 0) break;
        if (count > 0) {
            add_sent(static_cast<std::uint64_t>(count));
            done += static_cast<std::uint64_t>(count);
            if (done < bytes) co_await asio::post(socket_.get_executor(), use_awaitable);
        } else if (errno == EAGAIN) {
            co_await socket_.async_wait(Socket::wait_write, use_awaitable);
        } else if (errno != EINTR) {
            throw_error(errno);
        }
    }
    is_whole_ = done == bytes || done == 0;
    co_return done;
}

void Wire::cancel() {
    boost::system::error_code ignored;
    socket_.cancel(ignored);
}

void Wire::close() {
    boost::system::error_code ignored;
    socket_.close(ignored);
}

}  // namespace pgcascade::relay
