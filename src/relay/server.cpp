#include "relay/server.hpp"

#include <thread>
#include <vector>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ip/v6_only.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

#include <pgcascade/error.hpp>

#include "base/clock.hpp"
#include "base/diagnostics.hpp"
#include "protocol/backend_message.hpp"
#include "relay/admissions.hpp"
#include "relay/session.hpp"

namespace pgcascade::relay {

using asio::ip::tcp;
using LocalProtocol = asio::local::stream_protocol;

namespace {

constexpr std::chrono::milliseconds kPauseAfterFailure{100};
constexpr std::chrono::milliseconds kLookAgain{10};
constexpr std::chrono::minutes kWarningInterval{1};

// A thread, what runs on it, and the bells of its sessions.
struct Loop {
    explicit Loop(const RelayState& relay) {
        for (const auto& feed : relay.feeds)
            bells[feed.get()] = std::make_unique<Bell>(context.get_executor());
        if (relay.wal) bells[relay.wal.get()] = std::make_unique<Bell>(context.get_executor());
    }

    Bells bells;  // sessions that end with the context still listen to them
    asio::io_context context{1};
    asio::executor_work_guard<asio::io_context::executor_type> work{context.get_executor()};
    std::thread thread;
};

}  // namespace

class Server::Impl {
  public:
    explicit Impl(RelayState& relay);
    ~Impl();

    void ring(const IncomingLog& log);
    void stop(std::chrono::milliseconds patience);

  private:
    void listen(const ListenAddress& address);
    void listen_tcp(const ListenAddress& address);
    void listen_local(const ListenAddress& address);
    template <class Acceptor>
    asio::awaitable<void> accept_from(Acceptor& acceptor);
    void begin_session(Wire::Socket socket, Loop& loop);
    void turn_away(Wire::Socket& socket, const char* why, const char* hint);
    Loop& next_loop() { return *loops_[next_loop_++ % loops_.size()]; }

    RelayState& relay_;
    Admissions admissions_{relay_.config.connections_per_address_before_login};
    std::vector<std::unique_ptr<Loop>> loops_;
    std::size_t next_loop_ = 0;
    SteadyTime warning_due_;  // of the next who is turned away
    std::vector<std::unique_ptr<tcp::acceptor>> tcp_;
    std::vector<std::unique_ptr<LocalProtocol::acceptor>> local_;
};

Server::Impl::Impl(RelayState& relay) : relay_(relay) {
    for (int number = 0; number < relay.config.threads; ++number)
        loops_.push_back(std::make_unique<Loop>(relay));
    for (const ListenAddress& address : relay.config.listen) listen(address);
    for (const auto& acceptor : tcp_)
        asio::co_spawn(acceptor->get_executor(), accept_from(*acceptor), asio::detached);
    for (const auto& acceptor : local_)
        asio::co_spawn(acceptor->get_executor(), accept_from(*acceptor), asio::detached);
    for (const auto& loop : loops_) loop->thread = std::thread{[&context = loop->context] { context.run(); }};
}

Server::Impl::~Impl() {
    for (const auto& loop : loops_) loop->context.stop();
    for (const auto& loop : loops_)
        if (loop->thread.joinable()) loop->thread.join();
    for (const auto& acceptor : local_) ::unlink(acceptor->local_endpoint().path().c_str());
}

// -- Listening --

void Server::Impl::listen(const ListenAddress& address) {
    try {
        address.is_local() ? listen_local(address) : listen_tcp(address);
    } catch (const boost::system::system_error& problem) {
        throw SystemError("can't listen on " + address.to_string(), problem.code().value(),
                          "is another relay, or a server, running there?");
    }
    diagnostics::info("listening on " + address.to_string(),
                      {{"component", "listener"}, {"address", address.to_string()}});
}

void Server::Impl::listen_tcp(const ListenAddress& address) {
    asio::io_context& context = loops_.front()->context;
    tcp::resolver resolver{context};
    for (const auto& found :
         resolver.resolve(address.host, std::to_string(address.port), tcp::resolver::passive)) {
        auto acceptor = std::make_unique<tcp::acceptor>(context);
        acceptor->open(found.endpoint().protocol());
        acceptor->set_option(tcp::acceptor::reuse_address{true});
        if (found.endpoint().protocol() == tcp::v6()) acceptor->set_option(asio::ip::v6_only{true});
        acceptor->bind(found.endpoint());
        acceptor->listen();
        tcp_.push_back(std::move(acceptor));
    }
}

// The relay's directory has a lock, so a socket that is there has nobody behind it; another relay's would be
// found by connecting to it.
void Server::Impl::listen_local(const ListenAddress& address) {
    asio::io_context& context = loops_.front()->context;
    const LocalProtocol::endpoint endpoint{address.socket().string()};
    LocalProtocol::socket probe{context};
    boost::system::error_code nobody;
    if (!probe.connect(endpoint, nobody)) throw boost::system::system_error{asio::error::address_in_use};
    ::unlink(endpoint.path().c_str());
    local_.push_back(std::make_unique<LocalProtocol::acceptor>(context, endpoint));
}

template <class Acceptor>
asio::awaitable<void> Server::Impl::accept_from(Acceptor& acceptor) {
    for (;;) {
        Loop& loop = next_loop();
        boost::system::error_code failure;
        auto socket =
            co_await acceptor.async_accept(loop.context, asio::redirect_error(asio::use_awaitable, failure));
        if (!acceptor.is_open()) co_return;
        if (!failure) {
            begin_session(Wire::Socket{std::move(socket)}, loop);
            continue;
        }
        // Out of descriptors, most likely: those who are connected go on.
        diagnostics::warning("can't take a connection in: " + failure.message(),
                             "raise the limit of open files (ulimit -n, LimitNOFILE)",
                             {{"component", "listener"}});
        asio::steady_timer pause{acceptor.get_executor(), kPauseAfterFailure};
        co_await pause.async_wait(asio::use_awaitable);
    }
}

// -- Sessions --

// Tells the client what a server would, if it takes that at once, and the operator from time to time.
void Server::Impl::turn_away(Wire::Socket& socket, const char* why, const char* hint) {
    std::string words;
    protocol::append_error_response(
        words, {.severity = "FATAL", .sqlstate = "53300", .message = "sorry, too many clients already"});
    static_cast<void>(
        ::send(socket.native_handle(), words.data(), words.size(), MSG_DONTWAIT | MSG_NOSIGNAL));
    if (steady_now() < warning_due_) return;
    warning_due_ = steady_now() + kWarningInterval;
    diagnostics::warning(std::string{why} + ": clients are turned away", hint, {{"component", "listener"}});
}

void Server::Impl::begin_session(Wire::Socket socket, Loop& loop) {
    if (relay_.connections >= relay_.config.connections)
        return turn_away(socket, "the relay has as many connections as it may",
                         "raise connections in [relay], or see who has so many: pgcascade relay status");
    std::shared_ptr<Session> session;
    try {
        Wire wire{std::move(socket)};
        std::shared_ptr<void> admission = admissions_.admit(wire.peer().to_string());
        if (!admission) return;
        session = std::make_shared<Session>(std::move(wire), relay_, loop.bells, std::move(admission));
    } catch (const boost::system::system_error&) {  // it is gone already
        return;
    }
    ++relay_.connections;
    asio::co_spawn(
        loop.context, [session]() -> asio::awaitable<void> { co_await session->run(); },
        [this](const std::exception_ptr&) { --relay_.connections; });
}

void Server::Impl::ring(const IncomingLog& log) {
    for (const auto& loop : loops_) loop->bells.at(&log)->ring();
}

void Server::Impl::stop(std::chrono::milliseconds patience) {
    asio::post(loops_.front()->context, [this] {
        boost::system::error_code ignored;
        for (const auto& acceptor : tcp_) acceptor->close(ignored);
        for (const auto& acceptor : local_) acceptor->close(ignored);
    });
    relay_.sessions.stop_all();
    // Who has not logged in yet is not waited for.
    for (const SteadyTime deadline = steady_now() + patience;
         relay_.sessions.size() > 0 && steady_now() < deadline;)
        std::this_thread::sleep_for(kLookAgain);
}

Server::Server(RelayState& relay) : impl_(std::make_unique<Impl>(relay)) {}
Server::~Server() = default;
void Server::ring(const IncomingLog& log) {
    impl_->ring(log);
}
void Server::stop(std::chrono::milliseconds patience) {
    impl_->stop(patience);
}

}  // namespace pgcascade::relay
