#include <cstring>

#include <pgcascade/error.hpp>

namespace pgcascade {

Error::Error(const std::string& what, std::string hint) : std::runtime_error(what), hint_(std::move(hint)) {}

ServerError::ServerError(const std::string& what, std::string sqlstate, std::string hint)
    : Error(what, std::move(hint)), sqlstate_(std::move(sqlstate)) {}

SystemError::SystemError(const std::string& what, int error_number, std::string hint)
    : Error(error_number == 0 ? what : what + ": " + std::strerror(error_number), std::move(hint)),
      error_number_(error_number) {}

Stopped::Stopped() : Error("stopped by request") {}

}  // namespace pgcascade
