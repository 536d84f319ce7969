#pragma once

#include <string>
#include <utility>

#include <pgcascade/error.hpp>

namespace pgcascade::relay {

// An error for a client that has a DETAIL, as some of PostgreSQL's own have.
class Refusal : public ServerError {
  public:
    Refusal(const std::string& what, std::string sqlstate, std::string detail)
        : ServerError(what, std::move(sqlstate)), detail_(std::move(detail)) {}

    const std::string& detail() const noexcept { return detail_; }

  private:
    std::string detail_;
};

}  // namespace pgcascade::relay
