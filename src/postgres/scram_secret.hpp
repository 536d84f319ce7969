#pragma once

#include <string>

namespace pgcascade::postgres {

// What a server keeps instead of a password (pg_authid.rolpassword): SCRAM-SHA-256$4096:…, with a new random
// salt each time. libpq makes it, as for psql's \password, so it fits what libpq will make of the same
// password at a login: SASLprep (RFC 4013) where it is valid UTF-8, else its bytes as they are. The password
// must not be empty nor hold a zero byte. Throws Error where there is no randomness.
std::string make_scram_secret(const std::string& password);

}  // namespace pgcascade::postgres
