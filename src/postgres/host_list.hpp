#pragma once

#include <optional>
#include <string_view>

#include "postgres/conninfo.hpp"

// The hosts among which libpq chooses: the lists host, hostaddr and port of a connection string, of one
// length; a single port is for all of them (PostgreSQL manual, "Specifying Multiple Hosts").

namespace pgcascade::postgres {

// Without the host that PQhost and PQport tell. Null where no other is left.
std::optional<Conninfo> without_host(const Conninfo& conninfo, std::string_view host, std::string_view port);

}  // namespace pgcascade::postgres
