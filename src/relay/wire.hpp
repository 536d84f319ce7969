#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/ssl/stream.hpp>

#include "protocol/frontend_message.hpp"
#include "relay/address.hpp"
#include "relay/tls.hpp"

namespace pgcascade::relay {

namespace asio = boost::asio;

// The connection of one client: whole messages in, bytes out, encrypted or not. Belongs to one event loop;
// one coroutine may read while another writes. Everything throws boost::system::system_error where the
// connection fails or ends.
class Wire {
  public:
    using Socket = asio::generic::stream_protocol::socket;

    explicit Wire(Socket socket);

    // From now on encrypted; throws where the client does not manage the handshake.
    asio::awaitable<void> start_tls(const Tls& tls);
    bool is_encrypted() const { return tls_ != nullptr; }

    // Of the certificate that this client was shown: that of the relay may be another one by now.
    const std::string& tls_binding() const { return tls_binding_; }

    // Views into a buffer: valid until the next read. Throw ProtocolError where the client breaks the
    // protocol, or sends more than `limit` bytes in one message.
    asio::awaitable<protocol::FirstPacket> read_first_packet();
    asio::awaitable<protocol::FrontendMessage> read_message(std::size_t limit);

    // True where the client has sent more than was read: after SSLRequest somebody else may have.
    bool has_unread() const { return used_ < received_.size(); }

    // What is to be sent, gathered until flush().
    std::string& out() { return out_; }
    asio::awaitable<void> flush();

    // Those bytes of a file, after what was gathered. Returns how many it sent: fewer where the file is
    // shorter.
    asio::awaitable<std::uint64_t> send_file(int fd, std::uint64_t offset, std::uint64_t bytes);

    // From now on adds what it sends to that counter, before encryption; null: to none.
    void count_sent_in(std::atomic<std::uint64_t>* counter) { sent_bytes_ = counter; }

    // False once something was sent in part only: what followed would be taken for the rest of it.
    bool is_whole() const { return is_whole_; }

    const Address& peer() const { return peer_; }
    asio::any_io_executor executor() { return socket_.get_executor(); }
    void close();

    // Whoever reads or writes just now gets operation_aborted; what was received in part is kept.
    void cancel();

  private:
    asio::awaitable<void> receive_more();
    asio::awaitable<void> receive_encrypted();
    bool take_received();
    asio::awaitable<void> send(std::string_view bytes);
    void add_sent(std::uint64_t bytes) const;

    Socket socket_;
    std::unique_ptr<asio::ssl::stream<Socket&>> tls_;
    std::string tls_binding_;
    Address peer_;
    std::string received_;
    std::size_t used_ = 0;  // of it
    std::string out_;
    bool is_whole_ = true;
    std::atomic<std::uint64_t>* sent_bytes_ = nullptr;
};

}  // namespace pgcascade::relay
