#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/scram.hpp"
#include "relay/address.hpp"

// The users file: who may log in to a relay, and what for. docs/relay_file.md is its reference.

namespace pgcascade::relay {

struct User {
    std::string name;
    protocol::ScramSecret secret;
    std::optional<std::vector<AddressRange>> addresses;  // from where; nothing: from anywhere
    std::optional<std::vector<std::string>> feeds;       // which ones; nothing: all
    bool physical = false;                               // may have the WAL
    bool pass_through = false;                           // may run SQL on the upstream
    bool require_tls = false;

    bool may_connect_from(const Address& address) const;
    bool may_read(std::string_view feed) const;
};

// Never changes once it is made: any thread may ask it.
class Users {
  public:
    Users() = default;  // nobody
    explicit Users(std::vector<User> users);

    const User* find(std::string_view name) const;  // null: there is none
    std::size_t size() const { return users_.size(); }

  private:
    std::map<std::string, User, std::less<>> users_;
};

// `feeds`: those of relay.toml. Throws ConfigError, as "file:line: what is wrong" with a hint, for a syntax
// error, an unknown key (with the nearest known one), a value of the wrong type, a secret that is none, or a
// feed that is not there; as "file: …" where others could read or write the file. Throws SystemError where it
// can't be read. No secret is in any of them.
Users read_users_file(const std::filesystem::path& file, const std::vector<std::string>& feeds);

// 1 to 63 bytes, no control characters.
bool is_user_name(std::string_view name);

// Throws ConfigError where somebody else than this process's account or root may read or write the file.
void check_is_private(const std::filesystem::path& file);

}  // namespace pgcascade::relay
