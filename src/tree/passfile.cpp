#include "tree/passfile.hpp"

#include <array>
#include <cerrno>

#include <sys/random.h>

#include <pgcascade/error.hpp>

namespace pgcascade::tree {

namespace {

// One field, unescaped, and whether it was a bare '*'; `line` goes on behind the colon.
struct Field {
    std::string text;
    bool is_any = false;
};

Field take_field(std::string_view& line) {
    Field field;
    std::size_t at = 0;
    for (; at < line.size() && line[at] != ':'; ++at) {
        if (line[at] == '\\' && at + 1 < line.size()) ++at;
        field.text += line[at];
    }
    field.is_any = line.substr(0, at) == "*";
    line.remove_prefix(at < line.size() ? at + 1 : at);
    return field;
}

std::string escaped(std::string_view text) {
    std::string field;
    for (const char letter : text) {
        if (letter == ':' || letter == '\\') field += '\\';
        field += letter;
    }
    return field;
}

}  // namespace

std::optional<std::string> find_password(std::string_view passfile, const PassfileKey& key) {
    while (!passfile.empty()) {
        const std::size_t end = std::min(passfile.find('\n'), passfile.size());
        std::string_view line = passfile.substr(0, end);
        passfile.remove_prefix(std::min(end + 1, passfile.size()));
        if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
        if (line.empty() || line.front() == '#') continue;

        bool fits = true;
        for (const std::string* wanted : {&key.host, &key.port, &key.database, &key.user}) {
            const Field field = take_field(line);
            fits = fits && (field.is_any || field.text == *wanted);
        }
        if (fits) return take_field(line).text;
    }
    return std::nullopt;
}

std::string passfile_line(std::string_view user, std::string_view password) {
    return "*:*:*:" + escaped(user) + ":" + escaped(password) + "\n";
}

std::string generate_password() {
    // 64 characters: each random byte gives six bits, all equally likely.
    static constexpr std::string_view kAlphabet =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    std::array<unsigned char, 32> random{};
    for (std::size_t filled = 0; filled < random.size();) {
        const ssize_t count = ::getrandom(random.data() + filled, random.size() - filled, 0);
        if (count < 0 && errno != EINTR) throw SystemError("can't get random bytes", errno);
        if (count > 0) filled += static_cast<std::size_t>(count);
    }
    std::string password;
    for (const unsigned char byte : random) password += kAlphabet[byte % kAlphabet.size()];
    return password;
}

}  // namespace pgcascade::tree
