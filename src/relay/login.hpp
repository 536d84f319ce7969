#pragma once

#include <string>

#include <boost/asio/awaitable.hpp>

#include "relay/relay_state.hpp"
#include "relay/wire.hpp"

namespace pgcascade::relay {

// A client that was let in.
struct Client {
    enum class Replication { kNone, kPhysical, kDatabase };

    std::string user;
    std::string database;
    std::string application_name;
    std::string client_encoding;  // as it asked for; empty: it did not
    std::string options;          // settings for its session, as on a server's command line
    Replication replication = Replication::kNone;
    User rights;
};

// From the first packet to the moment before ParameterStatus: encryption, the start-up message, the password.
// Throws ServerError (to be told to the client as FATAL), ProtocolError, boost::system::system_error; a
// request to cancel is done, and ends as if the client had gone.
asio::awaitable<Client> log_in(Wire& wire, RelayState& relay);

}  // namespace pgcascade::relay
