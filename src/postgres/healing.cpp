#include "postgres/healing.hpp"

#include <string_view>

namespace pgcascade::postgres {

static Healing healing_of_sqlstate(std::string_view sqlstate) {
    if (sqlstate == "55006") return Healing::kSoon;    // object_in_use: the slot is active
    const bool passes = sqlstate.starts_with("08")     // connection exceptions
                        || sqlstate.starts_with("53")  // insufficient resources: disk, memory, connections
                        || sqlstate == "57P01"         // admin_shutdown, also pg_terminate_backend()
                        || sqlstate == "57P02"         // crash_shutdown
                        || sqlstate == "57P03"         // cannot_connect_now: starting up, shutting down
                        || sqlstate == "57014"         // query_canceled, by pg_cancel_backend()
                        || sqlstate == "40001";        // conflict with recovery, on a standby
    return passes ? Healing::kSomeday : Healing::kNever;
}

Healing healing_of(const Error& problem) {
    if (dynamic_cast<const ConnectionError*>(&problem) != nullptr) return Healing::kSomeday;
    if (const auto* answer = dynamic_cast<const ServerError*>(&problem))
        return healing_of_sqlstate(answer->sqlstate());
    return Healing::kNever;
}

}  // namespace pgcascade::postgres
