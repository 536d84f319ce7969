#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

// Why no server let us in, read from libpq's text of a failed connection attempt: all that libpq 15 keeps of
// it. Under PQERRORS_VERBOSE the SQLSTATE stands in it, in whatever language the server speaks
// (fe-protocol3.c, pqBuildErrorMessage3):
//
//     connection to server at "10.0.0.1", port 5432 failed: FATAL:  28P01: password authentication failed …
//     LOCATION:  auth_failed, auth.c:326

namespace pgcascade::postgres {

struct LoginFailure {
    std::string text;                    // as it is without PQERRORS_VERBOSE
    std::vector<std::string> sqlstates;  // one for each FATAL: of every host, and with and without TLS
};

LoginFailure read_login_failure(std::string_view verbose);

// A server was reached that is starting up, shutting down or not yet consistent (postmaster.c,
// canAcceptConnections).
bool is_not_ready(const LoginFailure& failure);

struct Refusal {
    std::string sqlstate;
    std::string hint;
};

// Null where no server refuses us for good: none was reached, or it is starting up, shutting down, or broken.
std::optional<Refusal> find_refusal(const LoginFailure& failure);

// The server wants a password and there is none (PQconnectionNeedsPassword). `passfile`: the one that the
// connection string names, empty where it names none.
Refusal missing_password(const std::string& passfile);

}  // namespace pgcascade::postgres
