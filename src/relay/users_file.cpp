#include "relay/users_file.hpp"

#include <algorithm>
#include <cerrno>
#include <utility>

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <pgcascade/error.hpp>

#include "toml/toml_reader.hpp"

namespace pgcascade::relay {

namespace {

using Entry = TomlFile::Entry;

constexpr std::size_t kMostNameBytes = 63;  // NAMEDATALEN - 1, as for a role of PostgreSQL

class UsersReader {
  public:
    UsersReader(const std::filesystem::path& file, const std::vector<std::string>& feeds)
        : toml_(file), feeds_(feeds.begin(), feeds.end()) {}

    std::vector<User> read() const;

  private:
    User read_user(const Entry& table) const;
    void read_key(const Entry& entry, User& user) const;
    protocol::ScramSecret read_secret(const Entry& entry, const User& user) const;
    std::vector<AddressRange> read_addresses(const Entry& entry) const;
    std::vector<std::string> read_feeds(const Entry& entry) const;

    TomlFile toml_;
    std::vector<std::string_view> feeds_;
};

std::vector<User> UsersReader::read() const {
    std::vector<User> users;
    for (const Entry& entry : toml_.entries(toml_.root(), "the file", {"user"}))
        for (const Entry& user : TomlFile::entries(toml_.table(entry))) users.push_back(read_user(user));
    return users;
}

User UsersReader::read_user(const Entry& table) const {
    User user;
    user.name = table.key;
    if (!is_user_name(user.name))
        toml_.fail(table.line, fmt::format("\"{}\" can't be the name of a user", user.name),
                   "1 to 63 bytes without control characters");
    for (const Entry& entry :
         toml_.entries(toml_.table(table), fmt::format("[user.{}]", user.name),
                       {"secret", "addresses", "feeds", "physical", "pass_through", "require_tls"}))
        read_key(entry, user);
    if (user.secret.stored_key.empty())
        toml_.fail(table.line, fmt::format("user \"{}\" has no secret", user.name),
                   "write secret = \"SCRAM-SHA-256$…\", as pg_authid.rolpassword has it");
    return user;
}

void UsersReader::read_key(const Entry& entry, User& user) const {
    if (entry.key == "secret") user.secret = read_secret(entry, user);
    if (entry.key == "addresses") user.addresses = read_addresses(entry);
    if (entry.key == "feeds") user.feeds = read_feeds(entry);
    if (entry.key == "physical") user.physical = toml_.boolean(entry);
    if (entry.key == "pass_through") user.pass_through = toml_.boolean(entry);
    if (entry.key == "require_tls") user.require_tls = toml_.boolean(entry);
}

protocol::ScramSecret UsersReader::read_secret(const Entry& entry, const User& user) const {
    // Not said with a word of it: it may be the password.
    const auto secret = protocol::parse_scram_secret(toml_.text(entry));
    if (!secret)
        toml_.fail(entry.line, fmt::format("the secret of user \"{}\" is no SCRAM-SHA-256 secret", user.name),
                   "a password is never written here; the secret that a server makes of it, "
                   "SCRAM-SHA-256$4096:…, is in pg_authid.rolpassword");
    return *secret;
}

std::vector<AddressRange> UsersReader::read_addresses(const Entry& entry) const {
    std::vector<AddressRange> addresses;
    for (const Entry& item : toml_.items(entry)) {
        const std::string text = toml_.text(item);
        const auto range = AddressRange::parse(text);
        if (!range)
            toml_.fail(
                item.line, fmt::format("\"{}\" is no address and no network", text),
                "write \"10.0.0.1\", \"10.0.0.0/8\", \"2001:db8::/32\", or \"local\" for Unix sockets; "
                "beyond the bits that the network counts there must be zeroes");
        addresses.push_back(*range);
    }
    if (addresses.empty())
        toml_.fail(entry.line, "addresses names none, so nobody could log in",
                   "leave it out where the user may come from anywhere");
    return addresses;
}

std::vector<std::string> UsersReader::read_feeds(const Entry& entry) const {
    std::vector<std::string> feeds;
    for (const Entry& item : toml_.items(entry)) {
        feeds.push_back(toml_.text(item));
        if (std::find(feeds_.begin(), feeds_.end(), feeds.back()) != feeds_.end()) continue;
        const std::string nearest = nearest_word(feeds.back(), feeds_);
        toml_.fail(item.line, fmt::format("there is no feed \"{}\"", feeds.back()),
                   nearest.empty() ? fmt::format("relay.toml has no [feed.{}]", feeds.back())
                                   : fmt::format("did you mean \"{}\"?", nearest));
    }
    return feeds;
}

}  // namespace

bool User::may_connect_from(const Address& address) const {
    return !addresses || std::any_of(addresses->begin(), addresses->end(),
                                     [&](const AddressRange& range) { return range.contains(address); });
}

bool User::may_read(std::string_view feed) const {
    return !feeds || std::find(feeds->begin(), feeds->end(), feed) != feeds->end();
}

Users::Users(std::vector<User> users) {
    for (User& user : users) {
        std::string name = user.name;
        users_.emplace(std::move(name), std::move(user));
    }
}

const User* Users::find(std::string_view name) const {
    const auto found = users_.find(name);
    return found == users_.end() ? nullptr : &found->second;
}

bool is_user_name(std::string_view name) {
    return !name.empty() && name.size() <= kMostNameBytes &&
           std::none_of(name.begin(), name.end(),
                        [](unsigned char byte) { return byte < 0x20 || byte == 0x7f; });
}

void check_is_private(const std::filesystem::path& file) {
    struct stat status {};
    if (::stat(file.c_str(), &status) != 0) throw SystemError("can't open " + file.string(), errno);
    if (status.st_uid != ::geteuid() && status.st_uid != 0)
        throw ConfigError(fmt::format("{} belongs to another account (uid {})", file.string(), status.st_uid),
                          fmt::format("who owns it can give himself what he likes: chown {} {}", ::geteuid(),
                                      file.string()));
    if ((status.st_mode & (S_IRWXG | S_IRWXO)) != 0)
        throw ConfigError(
            fmt::format("{} may be read or written by others (mode {:04o})", file.string(),
                        status.st_mode & 07777U),
            fmt::format("its secrets let a thief pose as the relay: chmod 600 {}", file.string()));
}

Users read_users_file(const std::filesystem::path& file, const std::vector<std::string>& feeds) {
    check_is_private(file);
    return Users{UsersReader{file, feeds}.read()};
}

}  // namespace pgcascade::relay
