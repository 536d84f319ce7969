#include "tree/host.hpp"

#include <cerrno>
#include <cstring>
#include <memory>

#include <fmt/format.h>
#include <ifaddrs.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <pgcascade/error.hpp>

#include "postgres/data_directory.hpp"
#include "postgres/postmaster_pid.hpp"
#include "tree/relay_files.hpp"

namespace pgcascade::tree {

namespace fs = std::filesystem;
using postgres::DataDirectory;
using postgres::LocalServer;

namespace {

bool is_same_address(const sockaddr& left, const sockaddr& right) {
    if (left.sa_family != right.sa_family) return false;
    if (left.sa_family == AF_INET)
        return reinterpret_cast<const sockaddr_in&>(left).sin_addr.s_addr ==
               reinterpret_cast<const sockaddr_in&>(right).sin_addr.s_addr;
    return left.sa_family == AF_INET6 &&
           std::memcmp(&reinterpret_cast<const sockaddr_in6&>(left).sin6_addr,
                       &reinterpret_cast<const sockaddr_in6&>(right).sin6_addr, sizeof(in6_addr)) == 0;
}

bool is_own_address(const sockaddr& address) {
    ifaddrs* list = nullptr;
    if (::getifaddrs(&list) != 0) throw SystemError("can't list the network interfaces", errno);
    const std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)> interfaces{list, ::freeifaddrs};
    for (const ifaddrs* one = interfaces.get(); one != nullptr; one = one->ifa_next)
        if (one->ifa_addr != nullptr && is_same_address(*one->ifa_addr, address)) return true;
    return false;
}

bool is_here(const std::string& host) {
    if (is_this_machine_name(host)) return true;
    addrinfo* list = nullptr;
    addrinfo wanted{};
    wanted.ai_socktype = SOCK_STREAM;
    if (::getaddrinfo(host.c_str(), nullptr, &wanted, &list) != 0) return false;
    const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> addresses{list, ::freeaddrinfo};
    for (const addrinfo* one = addresses.get(); one != nullptr; one = one->ai_next)
        if (is_own_address(*one->ai_addr)) return true;
    return false;
}

struct FileStatus {
    FileOwner owner;
    mode_t mode;
};

FileStatus status_of(const fs::path& file) {
    struct stat status {};
    if (::stat(file.c_str(), &status) != 0) throw SystemError("can't look at " + file.string(), errno);
    return {{status.st_uid, status.st_gid}, status.st_mode & 07777U};
}

bool has_line(const std::string& content, const std::string& line) {
    return ("\n" + content + "\n").find("\n" + line + "\n") != std::string::npos;
}

std::optional<std::string> content_if_there(const fs::path& file) {
    if (!fs::exists(file)) return std::nullopt;
    return read_file(file);
}

// What can't be looked at is a part of the answer.
template <class Look>
void note_problem(HostState& state, const Look& look) {
    try {
        look();
    } catch (const Stopped&) {
        throw;
    } catch (const Error& problem) {
        state.problem = Problem{problem.what(), problem.hint()};
    } catch (const fs::filesystem_error& problem) {
        state.problem = Problem{problem.what(), {}};
    }
}

}  // namespace

Host::Host(const Cascade& cascade, const Node& node, int stop_fd)
    : cascade_(cascade), node_(node), stop_fd_(stop_fd), is_this_machine_(is_here(node.host)) {}

HostState Host::look() const {
    HostState state;
    state.is_this_machine = is_this_machine_;
    if (is_this_machine_)
        note_problem(state, [&] { node_.is_relay() ? look_at_relay(state) : look_at_files(state); });
    return state;
}

HostState Host::look_closely(const std::vector<std::string>& names) const {
    HostState state = look();
    if (state.directory.state == DataDirectory::State::kCluster && !state.problem)
        note_problem(state, [&] { look_at_silent_server(names, state); });
    return state;
}

void Host::look_at_files(HostState& state) const {
    state.directory = postgres::inspect_data_directory(node_.data_directory);
    const Account owner = account();
    state.account = owner.name;
    state.passfile_problem = passfile_problem(owner);
    if (state.directory.state != DataDirectory::State::kCluster) return;
    state.is_running = is_server_running();
    state.has_backup_label = fs::exists(node_.data_directory / "backup_label");
}

// Of a relay's directory that is not ours nothing is looked at but who works there.
void Host::look_at_relay(HostState& state) const {
    using State = DataDirectory::State;
    const fs::path& directory = node_.data_directory;
    const Account owner = account();
    state.account = owner.name;
    state.passfile_problem = passfile_problem(owner);
    state.directory.state = fs::exists(directory) ? State::kEmpty : State::kMissing;
    if (state.directory.state == State::kMissing) return;
    for (const fs::directory_entry& entry : fs::directory_iterator{directory}) {
        // A write that was cut off leaves another file of that name.
        const bool is_start_of_ours = entry.path().filename().string().starts_with(kRelayFile);
        if (!is_start_of_ours && !postgres::is_lost_and_found(entry)) state.directory.state = State::kForeign;
    }
    state.is_running = relay().is_running();
    state.relay_file = content_if_there(directory / kRelayFile);
    if (!state.relay_file || !is_written_by_apply(*state.relay_file)) {
        if (state.relay_file) state.directory.state = State::kForeign;
        return;
    }
    state.directory.state = State::kCluster;
    state.users_file = content_if_there(directory / kRelayUsers);
    state.has_unread_users = fs::exists(directory / kUnreadUsers);
    if (!fs::exists(directory / kRelayFeeds)) return;
    for (const fs::directory_entry& feed : fs::directory_iterator{directory / kRelayFeeds})
        state.relay_feeds.insert(feed.path().filename());
}

void Host::look_at_silent_server(const std::vector<std::string>& names, HostState& state) const {
    const LocalServer silent = server();
    state.configured = silent.configured(names);
    postgres::Settings differing;
    for (const auto& [name, value] : node_.settings) {
        const auto now = state.configured.find(name);
        if (now != state.configured.end() && now->second != value) differing.emplace(name, value);
    }
    state.wanted = silent.normalized(differing);
    for (const fs::directory_entry& slot : fs::directory_iterator{node_.data_directory / "pg_replslot"})
        state.slots.insert(slot.path().filename());
}

Account Host::account() const {
    // An empty directory of root's is a mount point, which nobody has been given yet.
    struct stat status {};
    const bool is_free = ::stat(node_.data_directory.c_str(), &status) != 0 || status.st_uid == 0;
    if (cascade_.account && is_free) return Account::named(*cascade_.account);
    return LocalServer::account_for(node_.data_directory);
}

// libpq passes over a password file that others may read, and one that it can't open, without a word.
std::optional<Problem> Host::passfile_problem(const Account& account) const {
    std::error_code error;
    if (!cascade_.passfile || !fs::exists(*cascade_.passfile, error)) return std::nullopt;
    const std::string name = cascade_.passfile->string();
    if ((status_of(*cascade_.passfile).mode & 0077U) != 0)
        return Problem{name + " can be read by others, so PostgreSQL does not use it", "chmod 600 " + name};
    const bool is_readable =
        run({.arguments = {"test", "-r", name}, .account = account, .directory = {}, .input = {}}, stop_fd_)
            .exit_status == 0;
    if (is_readable) return std::nullopt;
    return Problem{
        fmt::format("{} can't be read by the account {}, as which the server runs", name, account.name),
        fmt::format("chown {} {}, and let the account enter the directories above it", account.name, name)};
}

void Host::require_this_machine(const std::string& doing) const {
    if (is_this_machine_) return;
    throw ConfigError(
        fmt::format("{}: can't {}: {} is not this machine", node_.name, doing, node_.host),
        "run pgcascade on that host for what is to be done there; here it only changes what SQL can");
}

bool Host::is_server_running() const {
    require_this_machine("look for the server");
    return node_.is_relay() ? relay().is_running() : postgres::is_server_running(node_.data_directory);
}

postgres::LocalRelay Host::relay() const {
    require_this_machine("reach the relay's directory");
    return {account(), node_.data_directory, stop_fd_};
}

void Host::write_relay_file(const std::string& content) const {
    const Account owner = account();
    LocalServer{{}, owner, node_.data_directory}.require_access();
    postgres::make_data_directory(node_.data_directory, owner.ids);
    write_file_durably(node_.data_directory / kRelayFile, content, 0600, owner.ids);
}

void Host::write_relay_users(const std::string& content) const {
    write_file_durably(node_.data_directory / kRelayUsers, content, 0600, account().ids);
    fs::remove(node_.data_directory / kUnreadUsers);
}

void Host::replace_relay_users(const std::string& content) const {
    const FileOwner owner = account().ids;
    write_file_durably(node_.data_directory / kUnreadUsers, "", 0600, owner);
    write_file_durably(node_.data_directory / kRelayUsers, content, 0600, owner);
    relay().reload();
    fs::remove(node_.data_directory / kUnreadUsers);
}

LocalServer Host::server() const {
    require_this_machine("reach the data directory");
    const DataDirectory directory = postgres::inspect_data_directory(node_.data_directory);
    if (directory.state != DataDirectory::State::kCluster)
        throw ConfigError(node_.data_directory.string() + " holds no cluster");
    return {postgres::installation_of(directory.major_version), account(), node_.data_directory, stop_fd_};
}

LocalServer Host::new_server(std::optional<int> major_version) const {
    constexpr int kOldestVersion = 15;
    require_this_machine("make a cluster");
    return {major_version ? postgres::installation_of(*major_version)
                          : postgres::newest_installation(kOldestVersion),
            account(), node_.data_directory, stop_fd_};
}

void Host::make_standby(const postgres::Settings& settings, const std::vector<std::string>& removed) const {
    LocalServer standby = server();
    standby.check_settings(settings);
    standby.write_settings(settings, removed);
    write_file_durably(node_.data_directory / "standby.signal", "", 0600, standby.account().ids);
}

bool Host::lacks_configuration() const {
    require_this_machine("look for configuration files");
    return !fs::exists(node_.data_directory / "postgresql.conf");
}

void Host::add_missing_configuration(const std::string& hba_content) const {
    require_this_machine("write configuration files");
    const FileOwner owner = account().ids;
    const auto add = [&](const char* name, const std::string& content) {
        const fs::path file = node_.data_directory / name;
        if (!fs::exists(file)) write_file_durably(file, content, 0600, owner);
    };
    add("pg_hba.conf", hba_content);
    add("pg_ident.conf", "");
    // Last: a server does not start without it.
    add("postgresql.conf",
        "# The upstream keeps its own elsewhere; the settings are in postgresql.auto.conf.\n");
}

bool Host::append_hba_line(const fs::path& hba_file, const std::string& line) const {
    require_this_machine("change pg_hba.conf");
    const fs::path file = fs::canonical(hba_file);  // behind a link, the file itself is replaced
    std::string content = read_file(file);
    if (has_line(content, line)) return false;
    if (!content.empty() && content.back() != '\n') content += '\n';
    content += "# Added by pgcascade:\n" + line + "\n";
    const FileStatus status = status_of(file);
    write_file_durably(file, content, status.mode, status.owner);
    return true;
}

std::string Host::replay_progress() const {
    if (!is_this_machine_) return {};
    for (const pid_t pid : postgres::server_processes(node_.data_directory)) {
        std::string title;
        try {
            title = read_file(fs::path{"/proc"} / std::to_string(pid) / "cmdline");
        } catch (const SystemError&) {
            continue;  // it has ended
        }
        title.resize(std::min(title.find('\0'), title.size()));
        if (title.find(": startup ") != std::string::npos) return title;
    }
    return {};
}

postgres::CloneTarget Host::clone_target() const {
    require_this_machine("clone");
    return {.data_directory = node_.data_directory,
            .owner = account().ids,
            .tablespaces = node_.tablespaces,
            .node = node_.name};
}

void Host::write_passfile(const fs::path& passfile, const std::string& content) const {
    require_this_machine("write the passfile");
    write_file_durably(passfile, content, 0600, account().ids);
}

}  // namespace pgcascade::tree
