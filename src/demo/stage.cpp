#include "demo/stage.hpp"

#include <cerrno>
#include <cstdlib>
#include <random>
#include <set>
#include <string>
#include <vector>

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <pgcascade/error.hpp>

#include "base/diagnostics.hpp"
#include "base/file.hpp"
#include "demo/demo.hpp"
#include "postgres/local_server.hpp"
#include "tree/stop.hpp"

namespace pgcascade::demo {

namespace fs = std::filesystem;

namespace {

constexpr mode_t kPassable = 0755;  // the servers' account has to get through

void require_reachable(const fs::path& directory) {
    const fs::path data = directory / "primary";
    postgres::LocalServer{{}, postgres::LocalServer::account_for(data), data}.require_access();
}

fs::path make_temporary(const fs::path& parent) {
    std::string pattern = (parent / "pgcascade-demo-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr)
        throw SystemError("can't make a directory in " + parent.string(), errno);
    if (::chmod(pattern.c_str(), kPassable) != 0)
        throw SystemError("can't set the mode of " + pattern, errno);
    return pattern;
}

fs::path make_reachable_temporary() {
    std::vector<fs::path> parents{"/tmp", "/var/tmp"};
    const char* wanted = std::getenv("TMPDIR");
    if (wanted != nullptr && *wanted != '\0') parents.insert(parents.begin(), fs::absolute(wanted));
    for (std::size_t i = 0;; ++i) {
        try {
            require_reachable(parents[i] / "directory");
            return make_temporary(parents[i]);
        } catch (const Error&) {
            if (i + 1 == parents.size()) throw;
        }
    }
}

// Below the ports that the kernel gives to outgoing connections, so that none of those takes one between now
// and the start of the server.
std::uint16_t free_port(std::set<std::uint16_t>& taken) {
    constexpr int kTries = 500;
    std::random_device random;
    std::uniform_int_distribution<int> ports{12'000, 31'000};
    for (int i = 0; i < kTries; ++i) {
        const auto port = static_cast<std::uint16_t>(ports(random));
        const FileDescriptor socket{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(port);
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 &&
            taken.insert(port).second)
            return port;
    }
    throw Error("no free port found on 127.0.0.1");
}

struct StageNode {
    const char* name;
    const char* upstream;
};
constexpr StageNode kNodes[] = {{"primary", nullptr}, {kRelay, "primary"}, {"eu", "primary"},
                                {"us", "primary"},    {"hub-1", kRelay},   {"eu-1", "eu"},
                                {"eu-2", "eu"},       {"us-1", "us"}};

std::string common_text(const char* name) {
    return fmt::format(
        "[cascade]\n"
        "name = \"{}\"\n"
        "passfile = \"passwords\"  # written by apply\n"
        "\n"
        "[settings]  # small: eight servers share this machine\n"
        "shared_buffers = \"32MB\"\n"
        "max_connections = 40\n"
        "wal_receiver_status_interval = \"1s\"\n",
        name);
}

std::string cascade_text(const fs::path& directory) {
    std::string text =
        "# Written by pgcascade demo: one primary, two servers and a relay that it feeds, and four servers "
        "that\n"
        "# these feed.\n\n" +
        common_text("shop");
    std::set<std::uint16_t> taken;
    for (const StageNode& node : kNodes) {
        text += fmt::format("\n[node.{}]\n", node.name);
        if (node.upstream != nullptr) text += fmt::format("upstream = \"{}\"\n", node.upstream);
        text += fmt::format("port = {}\ndata_directory = \"{}\"\n", free_port(taken),
                            (directory / node.name).string());
        if (node.upstream == nullptr) text += "create = true\n";
        if (std::string_view{node.name} == kRelay) text += "kind = \"relay\"\n";
    }
    return text;
}

}  // namespace

StageDirectory::StageDirectory(const std::optional<fs::path>& wanted) {
    if (!wanted) {
        path_ = make_reachable_temporary();
        return;
    }
    path_ = fs::absolute(*wanted).lexically_normal();
    require_reachable(path_);
    was_there_ = fs::exists(path_);
    if (was_there_ && !(fs::is_directory(path_) && fs::is_empty(path_)))
        throw ConfigError(path_.string() + " is not an empty directory",
                          "name one that is, or that does not exist");
    if (was_there_) return;
    if (!path_.has_filename()) path_ = path_.parent_path();
    if (::mkdir(path_.c_str(), kPassable) != 0) throw SystemError("can't make " + path_.string(), errno);
    if (::chmod(path_.c_str(), kPassable) != 0)
        throw SystemError("can't set the mode of " + path_.string(), errno);
}

StageDirectory::~StageDirectory() {
    if (is_kept_) return;
    std::error_code error;
    for (fs::directory_iterator entry{path_, error}, end; !error && entry != end; entry.increment(error)) {
        fs::remove_all(entry->path(), error);
        if (error) break;
    }
    if (!error && !was_there_) fs::remove(path_, error);
    if (error)
        diagnostics::warning(fmt::format("can't remove {}: {}", path_.string(), error.message()),
                             "rm -r " + shell_quoted(path_.string()));
}

std::string shell_quoted(const std::string& text) {
    if (text.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-") ==
        std::string::npos)
        return text;
    std::string quoted{'\''};
    for (const char byte : text) {
        if (byte == '\'')
            quoted += "'\\''";
        else
            quoted += byte;
    }
    return quoted + '\'';
}

tree::Cascade write_shop_cascade(const fs::path& directory) {
    const fs::path file = directory / "cascade.toml";
    write_file_durably(file, cascade_text(directory), 0644);
    return tree::read_cascade_file(file);
}

tree::Cascade add_feed(const tree::Cascade& cascade, const std::string& database,
                       const std::string& publication) {
    const std::string feed = fmt::format(
        "\n[node.{}.feed.{}]  # for CREATE SUBSCRIPTION\ndatabase = \"{}\"\npublications = [\"{}\"]\n",
        kRelay, publication, database, publication);
    write_file_durably(cascade.file, read_file(cascade.file) + feed, 0644);
    return tree::read_cascade_file(cascade.file);
}

tree::Cascade write_subscriber_cascade(const tree::Cascade& shop) {
    std::set<std::uint16_t> taken;
    for (const tree::Node& node : shop.nodes) taken.insert(node.port);
    const fs::path directory = shop.file.parent_path();
    const fs::path file = directory / "subscriber.toml";
    const std::string text = fmt::format(
        "# Written by pgcascade demo: a server that has nothing of the others' but a subscription.\n\n{}\n"
        "[node.subscriber]\nport = {}\ndata_directory = \"{}\"\ncreate = true\n",
        common_text("subscriber"), free_port(taken), (directory / "subscriber").string());
    write_file_durably(file, text, 0644);
    return tree::read_cascade_file(file);
}

ServersOnStage::~ServersOnStage() {
    if (cascade_ == nullptr) return;
    try {
        // Nobody needs their data any more, and nobody wants to wait: this may be the way out of a Ctrl-C.
        tree::stop(*cascade_, {.mode = postgres::StopMode::kImmediate}, [](const tree::StopOutcome& outcome) {
            if (outcome.kind == tree::StopOutcome::Kind::kFailed)
                diagnostics::warning(outcome.node + ": " + outcome.problem.what, outcome.problem.hint);
        });
    } catch (const std::exception& problem) {
        diagnostics::error(problem);
    }
}

}  // namespace pgcascade::demo
