#include "relay/login.hpp"

#include <algorithm>
#include <optional>

#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fmt/format.h>

#include <pgcascade/error.hpp>

#include "protocol/backend_message.hpp"
#include "protocol/scram.hpp"

namespace pgcascade::relay {

using protocol::StartupMessage;

namespace {

constexpr std::uint16_t kMajor = 3;
constexpr std::uint16_t kMinor = 0;
constexpr std::size_t kLargestPasswordMessage = 65'535;  // libpq/auth.c, PG_MAX_AUTH_TOKEN_LENGTH
constexpr std::chrono::seconds kDelayAfterFailure{1};

std::string parameter(const StartupMessage& message, std::string_view name) {
    const std::string* value = message.find(name);
    return value == nullptr ? std::string{} : *value;
}

Client::Replication read_replication(const std::string& value) {
    if (value == "database") return Client::Replication::kDatabase;
    if (value == "true" || value == "on" || value == "yes" || value == "1")
        return Client::Replication::kPhysical;
    if (value.empty() || value == "false" || value == "off" || value == "no" || value == "0")
        return Client::Replication::kNone;
    throw ServerError(fmt::format("invalid value for parameter \"replication\": \"{}\"", value), "22023");
}

// The first packets, until there is one that starts a session.
asio::awaitable<StartupMessage> read_startup(Wire& wire, RelayState& relay) {
    for (;;) {
        const protocol::FirstPacket packet = co_await wire.read_first_packet();
        if (const auto* startup = std::get_if<StartupMessage>(&packet)) co_return *startup;
        if (const auto* cancel = std::get_if<protocol::CancelRequest>(&packet)) {
            relay.sessions.cancel(cancel->pid, cancel->key);
            throw boost::system::system_error{asio::error::eof};
        }
        const auto tls = relay.tls.load();
        const bool encrypts =
            std::holds_alternative<protocol::SslRequest>(packet) && tls && !wire.is_encrypted();
        wire.out() += encrypts ? 'S' : 'N';
        co_await wire.flush();
        if (!encrypts) continue;
        // What came before the encryption may be somebody else's (CVE-2021-23214).
        if (wire.has_unread()) throw ServerError("received unencrypted data after SSL request", "08P01");
        co_await wire.start_tls(*tls);
    }
}

void check_version(const StartupMessage& startup, std::string& out) {
    if (startup.major != kMajor)
        throw ServerError(fmt::format("unsupported frontend protocol {}.{}: server supports 3.0 to 3.0",
                                      startup.major, startup.minor),
                          "0A000");
    std::vector<std::string> unknown;
    for (const auto& [name, value] : startup.parameters)
        if (name.starts_with("_pq_.")) unknown.push_back(name);
    if (startup.minor > kMinor || !unknown.empty())
        protocol::append_negotiate_protocol_version(out, kMajor, kMinor, unknown);
}

asio::awaitable<protocol::FrontendMessage> read_password(Wire& wire) {
    const protocol::FrontendMessage message = co_await wire.read_message(kLargestPasswordMessage);
    if (message.type == 'X') throw boost::system::system_error{asio::error::eof};
    if (message.type != 'p')
        throw ProtocolError(fmt::format("expected SASL response, got message type {}", int{message.type}));
    co_return message;
}

// True where the client knows the password.
asio::awaitable<bool> check_password(Wire& wire, const protocol::ScramSecret& secret) {
    protocol::ScramExchange exchange{secret, wire.tls_binding()};
    protocol::append_authentication_sasl(wire.out(), exchange.mechanisms());
    co_await wire.flush();
    const auto first = protocol::parse_sasl_initial_response((co_await read_password(wire)).body);
    protocol::append_authentication_sasl_continue(
        wire.out(), exchange.begin(first.mechanism, first.response.value_or("")));
    co_await wire.flush();
    const auto proof = exchange.finish((co_await read_password(wire)).body);
    if (!proof) co_return false;
    protocol::append_authentication_sasl_final(wire.out(), *proof);
    co_return true;
}

// Whom the relay trusts by where it comes from has the rights of the user of that name, and all where there
// is none: relay.toml says so.
User trusted(const std::string& name, const User* user) {
    if (user != nullptr) return *user;
    User all;
    all.name = name;
    all.physical = all.pass_through = true;
    return all;
}

asio::awaitable<User> authenticate(Wire& wire, RelayState& relay, const std::string& name) {
    const auto users = relay.users.load();
    const User* user = users->find(name);
    if (relay.config.trusts(wire.peer())) co_return trusted(name, user);
    const bool may_try =
        user != nullptr && user->may_connect_from(wire.peer()) && (wire.is_encrypted() || !user->require_tls);
    // The client is not told which names exist, and from where they may come.
    const protocol::ScramSecret secret =
        may_try ? user->secret : protocol::mock_scram_secret(name, relay.scram_key);
    const bool is_known = co_await check_password(wire, secret);
    if (may_try && is_known) co_return *user;
    ++relay.failed_logins;
    asio::steady_timer delay{wire.executor(), kDelayAfterFailure};
    co_await delay.async_wait(asio::use_awaitable);
    throw ServerError(fmt::format("password authentication failed for user \"{}\"", name), "28P01");
}

}  // namespace

asio::awaitable<Client> log_in(Wire& wire, RelayState& relay) {
    const StartupMessage startup = co_await read_startup(wire, relay);
    check_version(startup, wire.out());
    Client client;
    client.user = parameter(startup, "user");
    if (client.user.empty())
        throw ServerError("no PostgreSQL user name specified in startup packet", "28000");
    client.database = parameter(startup, "database");
    if (client.database.empty()) client.database = client.user;
    client.application_name = parameter(startup, "application_name");
    client.client_encoding = parameter(startup, "client_encoding");
    client.options = parameter(startup, "options");
    client.replication = read_replication(parameter(startup, "replication"));
    client.rights = co_await authenticate(wire, relay, client.user);
    protocol::append_authentication_ok(wire.out());
    co_return client;
}

}  // namespace pgcascade::relay
