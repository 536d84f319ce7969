#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

// libpq's password file: lines of host:port:database:user:password, where a field may be '*', and ':' and '\'
// are written with a '\' before them. Source: PostgreSQL manual, "The Password File"; fe-connect.c.

namespace pgcascade::tree {

struct PassfileKey {
    std::string host;  // or the directory of a Unix socket, as it is written
    std::string port;
    std::string database;  // "replication" for physical replication
    std::string user;
};

// The password of the first line that fits, as libpq picks it.
std::optional<std::string> find_password(std::string_view passfile, const PassfileKey& key);

// The line that gives that user's password everywhere.
std::string passfile_line(std::string_view user, std::string_view password);

// 32 random characters of 64: letters, digits, - and _. Throws SystemError.
std::string generate_password();

}  // namespace pgcascade::tree
