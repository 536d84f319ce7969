#pragma once

#include <stdexcept>
#include <string>

// Every failure that pgcascade reports is one of these. what() says what failed and where (node, file, LSN);
// hint() says what to do about it and may be empty. Neither ever holds a password.

namespace pgcascade {

class Error : public std::runtime_error {
  public:
    explicit Error(const std::string& what, std::string hint = {});

    const std::string& hint() const noexcept { return hint_; }

  private:
    std::string hint_;
};

// The server could not be reached, or the connection to it broke. Trying again later can help.
class ConnectionError : public Error {
  public:
    using Error::Error;
};

// The server was reached and answered with an error.
class ServerError : public Error {
  public:
    ServerError(const std::string& what, std::string sqlstate, std::string hint = {});

    // Five characters, see the PostgreSQL manual, appendix A. Empty where the server gave none.
    const std::string& sqlstate() const noexcept { return sqlstate_; }

  private:
    std::string sqlstate_;
};

// The server was reached and refuses to let us in: wrong password, no pg_hba.conf line, unknown role or
// database. Trying again can't help, but where the SQLSTATE is of class 53: too many connections.
class LoginError : public ServerError {
  public:
    using ServerError::ServerError;
};

// A peer sent bytes that break the protocol.
class ProtocolError : public Error {
  public:
    using Error::Error;
};

// A configuration file or an option can't be used. what() starts with file:line where there is one.
class ConfigError : public Error {
  public:
    using Error::Error;
};

// A local file, directory or process failed; what() names it and holds the system's reason.
class SystemError : public Error {
  public:
    SystemError(const std::string& what, int error_number, std::string hint = {});

    int error_number() const noexcept { return error_number_; }  // errno, 0 where there is none

  private:
    int error_number_;
};

// A durable log lacks bytes, or holds damaged ones, that were on disk: what() names the file and the offset.
// It is never gone on with: what it held may have been confirmed, and can't be asked for again.
class LogCorrupt : public Error {
  public:
    using Error::Error;
};

// The work was stopped by request (a signal, or the stop descriptor of the options).
class Stopped : public Error {
  public:
    Stopped();
};

}  // namespace pgcascade
