#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "tree/cascade_file.hpp"

// The files by which a relay of the tree runs, in its directory. Pure. docs/relay_file.md is their reference.

namespace pgcascade::tree {

inline constexpr const char* kRelayFile = "relay.toml";
inline constexpr const char* kRelayUsers = "users";
inline constexpr const char* kRelayFeeds = "feeds";  // docs/log_format.md: a directory for each
// Beside them as long as a relay that runs may not have read its users anew.
inline constexpr const char* kUnreadUsers = "users.unread";

std::string relay_file(const Cascade& cascade, const Node& relay);

// Who logs in at relays: pgcascade itself, and whoever uses the replication role.
std::vector<std::string> relay_users(const Cascade& cascade);

// `secrets`: as pg_authid has them, of all relay_users().
std::string relay_users_file(const Cascade& cascade, const Node& relay,
                             const std::map<std::string, std::string>& secrets);

bool is_written_by_apply(std::string_view relay_file);

// All slots that such a file names; none where it can't be read.
std::vector<std::string> slots_of_relay_file(const std::string& relay_file);

// Whether a role with that pg_authid.rolpassword can log in at a relay.
bool is_scram_secret(std::string_view secret);

}  // namespace pgcascade::tree
