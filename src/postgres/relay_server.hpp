#pragma once

#include "postgres/connection.hpp"

// A relay (pgcascade relay) as a server: it knows replication commands only, and tells of itself by SHOW.

namespace pgcascade::postgres {

// The ParameterStatus that only a relay has.
inline constexpr const char* kRelayParameter = "pgcascade.relay";

inline bool is_relay(const Connection& connection) {
    return !connection.parameter(kRelayParameter).empty();
}

}  // namespace pgcascade::postgres
