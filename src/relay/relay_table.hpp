#pragma once

#include "relay/relay_file.hpp"
#include "toml/toml_reader.hpp"

namespace pgcascade::relay {

// The table [relay] of relay.toml, with all that can be said about it alone. Paths are taken relative to
// config.file. Throws ConfigError.
void read_relay_table(const TomlFile& toml, const TomlFile::Entry& table, RelayConfig& config);

}  // namespace pgcascade::relay
