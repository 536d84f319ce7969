#pragma once

#include <pgcascade/error.hpp>

namespace pgcascade::postgres {

enum class Healing {
    kNever,    // a person has to mend it: trying again gives the same answer
    kSoon,     // heals within seconds or not at all: another session holds the slot, most likely our old one
    kSomeday,  // the server or the network is away, restarting, or short of something
};

// Whether trying again can mend an error of a stream that has worked before. Source: PostgreSQL manual,
// appendix A, "PostgreSQL Error Codes".
Healing healing_of(const Error& problem);

}  // namespace pgcascade::postgres
