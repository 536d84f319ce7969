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

    std::filesystem::path program(const char* name) const { return bin_directory / name; }
};

// All that can be found: that of $PGCASCADE_BINDIR first, then PATH's and those in the places where
// distributions and scripts/setup put them, newest first. A program reached by two ways counts once. Throws
// ConfigError where $PGCASCADE_BINDIR is set and holds no server programs.
std::vector<Installation> find_installations();

// These two search once a process, for a search runs every program that it finds. Several threads may call
// them.

// $PGCASCADE_BINDIR's, else the newest, of at least that major version. Throws ConfigError that names the
// places that were searched.
Installation newest_installation(int at_least);

// The newest whose major version is exactly this; a data directory can be run by no other.
Installation installation_of(int major_version);

}  // namespace pgcascade::postgres
