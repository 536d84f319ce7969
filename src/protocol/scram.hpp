#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

// SCRAM-SHA-256, the server's side: whether a client knows a password, of which the server keeps only a
// secret that can't be logged in with. Pure but for the nonce. Source: RFC 5802, RFC 7677, RFC 5929
// (tls-server-end-point); PostgreSQL, libpq/auth-scram.c; manual, "SASL Authentication".

namespace pgcascade::protocol {

// As pg_authid.rolpassword has it: SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>, in Base64.
struct ScramSecret {
    int iterations = 0;
    std::string salt;  // here and below: the bytes themselves
    std::string stored_key;
    std::string server_key;
};

// Nothing where the text is no such secret.
std::optional<ScramSecret> parse_scram_secret(std::string_view text);

// For a user that does not exist: looks like a secret, always the same one for that name, and no password
// fits. So a client can't find out which names exist. `key` is the server's own, secret and lasting.
ScramSecret mock_scram_secret(std::string_view user, std::string_view key);

// One login. Throws ProtocolError where the client breaks the protocol; the connection must be closed then.
class ScramExchange {
  public:
    // `channel_binding`: the hash of the server's certificate (tls-server-end-point); empty: no TLS.
    ScramExchange(ScramSecret secret, std::string channel_binding);

    // To be offered, the better one first.
    std::vector<std::string> mechanisms() const;

    // From SASLInitialResponse; returns the data of SASLContinue.
    std::string begin(std::string_view mechanism, std::string_view client_first);

    // From SASLResponse; returns the data of SASLFinal, nothing where the password is wrong.
    std::optional<std::string> finish(std::string_view client_final);

  private:
    void read_binding_flag(std::string_view& message, std::string_view mechanism);

    ScramSecret secret_;
    std::string channel_binding_;
    std::string expected_binding_;  // c= of the client's last message
    std::string client_first_bare_;
    std::string server_first_;
    std::string nonce_;
};

}  // namespace pgcascade::protocol
