#pragma once

#include <filesystem>
#include <string>

namespace pgcascade::relay {

// Gives a user of the users file this password: adds a user to whom the defaults apply, or puts the new
// secret in the place of the old one; every other byte of the file stays as it is. A missing file is made.
// It has mode 0600, and is on disk when this returns. Several processes may do this at once: they wait for
// each other at FILE.lock, which stays. Throws ConfigError where the name or the password can't be had, or
// the file is no TOML, open to others, or written in a way that leaves no place for the secret; SystemError.
void write_user(const std::filesystem::path& file, const std::string& name, const std::string& password);

}  // namespace pgcascade::relay
