#pragma once

#include <filesystem>
#include <string>
#include <vector>

// The PostgreSQL server programs (initdb, pg_ctl, postgres) on this machine.

namespace pgcascade::postgres {

struct Installation {
    std::filesystem::path bin_directory;
    int major_version = 0;  // 18
    std::string version;    // "18.4"
};

// All that can be found, newest first: $PGCASCADE_BINDIR, PATH, the places where distributions and
// scripts/setup put them.
std::vector<Installation> find_installations();

// The newest of at least that major version. Throws ConfigError that names the places that were searched.
Installation newest_installation(int at_least);

// The one whose major version is exactly this; a data directory can be run by no other.
Installation installation_of(int major_version);

}  // namespace pgcascade::postgres
