#include "relay/write_user.hpp"

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <system_error>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>

#include <pgcascade/error.hpp>

#include "base/file.hpp"
#include "postgres/scram_secret.hpp"
#include "relay/users_file.hpp"
#include "toml/toml_reader.hpp"

namespace pgcascade::relay {

namespace {

// Not on the file itself, which is replaced: who waited for the lock of the old one would have none.
FileDescriptor lock_beside(const std::filesystem::path& file) {
    const std::filesystem::path path = file.string() + ".lock";
    FileDescriptor lock{::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600)};
    if (!lock)
        throw SystemError("can't open " + path.string(), errno,
                          "it lies beside the users file, so that two can't change it at once");
    while (::flock(lock.get(), LOCK_EX) != 0)
        if (errno != EINTR) throw SystemError("can't lock " + path.string(), errno);
    return lock;
}

std::string toml_key(const std::string& name) {
    const bool is_bare = std::all_of(name.begin(), name.end(), [](unsigned char letter) {
        return (std::isalnum(letter) != 0 && letter < 0x80) || letter == '_' || letter == '-';
    });
    if (is_bare) return name;
    std::string key{'"'};
    for (const char letter : name) {
        if (letter == '"' || letter == '\\') key += '\\';
        key += letter;
    }
    return key + '"';
}

// toml++ counts lines and, within a line, code points, both from 1.
std::size_t offset_of(const std::string& content, const toml::source_position& position) {
    std::size_t at = 0;
    for (toml::source_index line = 1; line < position.line; ++line)
        at = std::min(content.find('\n', at), content.size() - 1) + 1;
    for (toml::source_index column = 1; column < position.column && at < content.size(); ++column) {
        ++at;
        while (at < content.size() && (static_cast<unsigned char>(content[at]) & 0xc0U) == 0x80U) ++at;
    }
    return at;
}

std::string with_secret(std::string content, const TomlFile& toml, const std::string& name,
                        const std::string& secret) {
    const std::string value = '"' + secret + '"';  // Base64 and punctuation: nothing to escape
    const auto user = toml.root()["user"][name];
    if (const toml::node* old = user["secret"].node()) {
        const std::size_t begin = offset_of(content, old->source().begin);
        return content.replace(begin, offset_of(content, old->source().end) - begin, value);
    }
    if (const toml::node* table = user.node()) {
        const std::size_t line_end = content.find('\n', offset_of(content, table->source().begin));
        const bool is_last_line = line_end == std::string::npos;
        return content.insert(is_last_line ? content.size() : line_end, fmt::format("\nsecret = {}", value));
    }
    if (!content.empty()) content += content.ends_with('\n') ? "\n" : "\n\n";
    return content + fmt::format("[user.{}]\nsecret = {}\n", toml_key(name), value);
}

// All but the user's secret, with the user in any case.
toml::table rest_of(const TomlFile& toml, const std::string& name) {
    toml::table root = toml.root();
    root.emplace<toml::table>("user");
    if (toml::table* users = root["user"].as_table()) users->emplace<toml::table>(name);
    if (toml::table* user = root["user"][name].as_table()) user->erase("secret");
    return root;
}

// TOML can say the same in many ways (inline tables, dotted keys). Where the secret was put must mean what it
// should, and everything else what it meant.
bool is_as_meant(const std::filesystem::path& file, const std::string& content, const TomlFile& before,
                 const std::string& name, const std::string& secret) {
    try {
        const TomlFile after{file, content};
        return after.root()["user"][name]["secret"].value<std::string>() == secret &&
               rest_of(after, name) == rest_of(before, name);
    } catch (const ConfigError&) {
        return false;
    }
}

}  // namespace

void write_user(const std::filesystem::path& file, const std::string& name, const std::string& password) {
    if (!is_user_name(name))
        throw ConfigError(fmt::format("\"{}\" can't be the name of a user", name),
                          "1 to 63 bytes without control characters");
    if (password.empty() || password.find('\0') != std::string::npos)
        throw ConfigError(fmt::format("the password of user \"{}\" is empty or holds a zero byte", name),
                          "PostgreSQL's clients can send no such password");

    // A link stays one, and two ways to one file have one lock.
    std::error_code unknown;
    std::filesystem::path path = std::filesystem::weakly_canonical(file, unknown);
    if (unknown) path = file;
    const FileDescriptor lock = lock_beside(path);
    std::string content;
    if (std::filesystem::exists(path, unknown)) {
        check_is_private(path);
        content = read_file(path);
    }
    const TomlFile toml{file, content};
    const std::string secret = postgres::make_scram_secret(password);
    const std::string changed = with_secret(content, toml, name, secret);
    if (!is_as_meant(file, changed, toml, name, secret))
        throw ConfigError(
            fmt::format("{} leaves no place for the secret of user \"{}\"", file.string(), name),
            fmt::format("write [user.{}] on a line of its own, and its keys below", toml_key(name)));
    write_file_durably(path, changed, 0600);
}

}  // namespace pgcascade::relay
