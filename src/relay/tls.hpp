#pragma once

#include <memory>
#include <string>

#include <boost/asio/ssl/context.hpp>

#include "relay/relay_file.hpp"

namespace pgcascade::relay {

// What the relay shows its clients who want encryption.
struct Tls {
    // Handshakes of all event loops go by it, and change nothing in it.
    std::shared_ptr<boost::asio::ssl::context> context;

    // The certificate's hash, which SCRAM binds a login to (RFC 5929, tls-server-end-point).
    std::string binding;
};

// TLS 1.2 and later. Throws ConfigError that names the file, or both where they don't belong together.
Tls load_tls(const TlsFiles& files);

}  // namespace pgcascade::relay
