#include "postgres/local_server.hpp"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <optional>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <pgcascade/error.hpp>

#include "base/clock.hpp"
#include "base/diagnostics.hpp"
#include "base/stop_signal.hpp"
#include "postgres/connection.hpp"
#include "postgres/data_directory.hpp"
#include "postgres/postmaster_opts.hpp"
#include "postgres/postmaster_pid.hpp"
#include "postgres/server_log.hpp"

namespace pgcascade::postgres {

namespace fs = std::filesystem;
using std::chrono::milliseconds;

namespace {

constexpr const char* kInitDirectory = "initdb";
constexpr const char* kSettingsFile = "postgresql.auto.conf";
// Processes of a killed server end by themselves when they notice; one in a long query may take its time.
constexpr milliseconds kLeftoverTimeout{30'000};

bool is_root() {
    return ::geteuid() == 0;
}

[[noreturn]] void rethrow(const std::string& doing, const fs::filesystem_error& problem) {
    throw SystemError(doing + ": " + problem.path1().string(), problem.code().value());
}

std::optional<Account> account_if_any(const std::string& name) {
    if (name.empty() || name == "root") return std::nullopt;
    try {
        return Account::named(name);
    } catch (const ConfigError&) {
        return std::nullopt;
    }
}

Account unprivileged_account() {
    if (!is_root()) return Account::current();
    const char* sudo_user = std::getenv("SUDO_USER");
    for (const char* name : {"postgres", sudo_user != nullptr ? sudo_user : "", "nobody"})
        if (auto account = account_if_any(name)) return *account;
    throw ConfigError("there is no account that the servers could run as (PostgreSQL does not run as root)",
                      "create one: adduser --system --group postgres");
}

// Everything in `from` moves up beside it.
void move_up(const fs::path& from) {
    const fs::path to = from.parent_path();
    try {
        std::vector<fs::path> names;
        for (const fs::directory_entry& entry : fs::directory_iterator{from})
            names.push_back(entry.path().filename());
        // Without global/pg_control no server starts, so it comes last.
        std::stable_partition(names.begin(), names.end(),
                              [](const fs::path& name) { return name != "global"; });
        for (const fs::path& name : names) fs::rename(from / name, to / name);
        fs::remove(from);
    } catch (const fs::filesystem_error& problem) {
        rethrow("can't move the new cluster to " + to.string(), problem);
    }
    fsync_directory(to);
}

Conninfo local_conninfo(const PostmasterPid& file, const fs::path& data_directory) {
    std::string host = file.listen_address == "*" || file.listen_address == "0.0.0.0" ? "127.0.0.1"
                       : file.listen_address == "::"                                  ? "::1"
                                                                                      : file.listen_address;
    if (!file.socket_directory.empty()) host = (data_directory / file.socket_directory).string();
    return Conninfo{}
        .with("host", host)
        .with("port", file.port)
        .with("dbname", "postgres")
        .with("sslmode", "disable")
        .with("gssencmode", "disable");
}

// A server that still starts refuses every login, with a DETAIL only where it replays already and just can't
// be queried yet (postmaster.c: CAC_NOTCONSISTENT, CAC_NOTHOTSTANDBY). The message itself may be in any
// language.
bool answers_or_replays(const PostmasterPid& file, const fs::path& data_directory, int stop_fd) {
    if (file.socket_directory.empty() && file.listen_address.empty()) return false;
    try {
        const Connection connection{local_conninfo(file, data_directory),
                                    {.name = {}, .timeout = milliseconds{2'000}, .stop_fd = stop_fd}};
        return true;
    } catch (const LoginError&) {
        return true;
    } catch (const ConnectionError& problem) {
        return std::string_view{problem.what()}.find("DETAIL:") != std::string_view::npos;
    }
}

FileDescriptor open_process(pid_t pid) {
    return FileDescriptor{static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))};
}

void wait_for_pid_file(const fs::path& data_directory, const DetachedProcess& server) {
    constexpr int kLookMs = 5;
    constexpr milliseconds kTimeout{10'000};
    const SteadyTime deadline = steady_now() + kTimeout;
    while (server.pidfd && wait_for(server.pidfd.get(), POLLIN, kLookMs, -1) == 0 &&
           steady_now() < deadline) {
        const auto file = read_postmaster_pid(data_directory);
        if (file && file->pid == server.pid) return;
    }
}

int stop_signal(StopMode mode) {
    switch (mode) {
        case StopMode::kSmart:
            return SIGTERM;
        case StopMode::kFast:
            return SIGINT;
        case StopMode::kImmediate:
            return SIGQUIT;
    }
    return SIGINT;
}

}  // namespace

// It would keep libpq's, and its walreceiver prefers PGPASSWORD to a passfile. PG_OOM_ADJUST_FILE it needs.
bool is_for_a_server(std::string_view variable) {
    return !variable.starts_with("PG") || variable.starts_with("PG_");
}

LocalServer::LocalServer(Installation installation, Account account, const fs::path& data_directory,
                         int stop_fd)
    : installation_(std::move(installation)),
      account_(std::move(account)),
      data_directory_(fs::absolute(data_directory)),
      stop_fd_(stop_fd) {}

Account LocalServer::account_for(const fs::path& data_directory) {
    struct stat status {};
    if (::stat(data_directory.c_str(), &status) == 0 && status.st_uid != 0)
        return Account::of_user(status.st_uid);
    return unprivileged_account();
}

void LocalServer::require_access() const {
    if (account_.ids.user == 0)
        throw ConfigError(data_directory_.string() + ": PostgreSQL does not run as root",
                          "give the directory to an unprivileged account, such as postgres");
    if (!is_root() && ::geteuid() != account_.ids.user)
        throw ConfigError(data_directory_.string() + " belongs to the account " + account_.name,
                          "run pgcascade as " + account_.name + ", or as root");

    fs::path existing = data_directory_.parent_path();
    while (!fs::exists(existing) && existing.has_relative_path()) existing = existing.parent_path();
    const auto enters = [this](const fs::path& directory) {
        return run({.arguments = {"test", "-x", directory.string()},
                    .account = account_,
                    .directory = {},
                    .input = {}})
                   .exit_status == 0;
    };
    if (enters(existing)) return;
    fs::path blocked;
    for (const fs::path& part : existing) {
        blocked /= part;
        if (!enters(blocked)) break;
    }
    throw ConfigError(
        fmt::format("the account {}, as which the server runs, can't reach {}: it may not enter {}",
                    account_.name, data_directory_.string(), blocked.string()),
        fmt::format("put the data directory where it can, or: chmod o+x {}", blocked.string()));
}

void LocalServer::prepare_data_directory() const {
    using State = DataDirectory::State;
    switch (inspect_data_directory(data_directory_).state) {
        case State::kCluster:
            throw ConfigError(data_directory_.string() + " holds a cluster already");
        case State::kForeign:
            throw ConfigError(data_directory_.string() + " is not empty and holds no cluster",
                              "name another directory, or empty this one by hand");
        case State::kPartialClone:
            // An initdb whose pgcascade was killed ends by itself, but not at once.
            wait_for_leftovers(data_directory_);
            wait_for_leftovers(data_directory_ / kInitDirectory);
            clear_partial(data_directory_);
            break;
        case State::kMissing:
        case State::kEmpty:
            break;
    }
    make_data_directory(data_directory_, account_.ids);
}

void LocalServer::run_initdb(const InitOptions& options, const fs::path& directory) const {
    // The password comes through standard input, which is a file in memory: there is nothing to remove,
    // whatever happens. An initdb that outlived us would go on writing where the next attempt cleans up.
    const CommandResult result = run(
        {.arguments = {installation_.program("initdb").string(), "--pgdata", directory, "--username",
                       options.superuser, "--pwfile", "/dev/stdin", "--auth", "scram-sha-256", "--encoding",
                       "UTF8", "--locale", "C.UTF-8", "--data-checksums", "--no-instructions"},
         .account = account_,
         .directory = data_directory_,  // where wait_for_leftovers() finds it
         .input = options.superuser_password + "\n",
         .takes_variable = is_for_a_server,
         .end_with_parent = true},
        stop_fd_);
    if (result.exit_status != 0)
        throw SystemError(fmt::format("initdb of {} failed (exit status {}):\n{}", data_directory_.string(),
                                      result.exit_status, last_lines(result.output, 20)),
                          0);
}

void LocalServer::init(const InitOptions& options) {
    if (options.superuser_password.empty())
        throw ConfigError("the superuser of a new cluster needs a password");
    require_access();
    prepare_data_directory();
    const fs::path marker = data_directory_ / kUnfinishedMarker;
    write_file_durably(marker, "initdb\n", 0600, account_.ids);

    // initdb wants an empty directory, so it gets one within. That, and not one beside it, because the data
    // directory can be a mount point or lie where the account may not write.
    const fs::path directory = data_directory_ / kInitDirectory;
    run_initdb(options, directory);
    LocalServer cluster{installation_, account_, directory, stop_fd_};
    Settings settings = options.settings;
    settings.emplace("unix_socket_directories", "/tmp");
    cluster.check_settings(settings);
    cluster.write_settings(settings);
    move_up(directory);

    if (!options.hba_lines.empty()) {
        const fs::path hba = data_directory_ / "pg_hba.conf";
        const std::string content = fmt::format("{}{}\n", read_file(hba), fmt::join(options.hba_lines, "\n"));
        write_file_durably(hba, content, 0600, account_.ids);
    }

    if (::unlink(marker.c_str()) != 0) throw SystemError("can't remove " + marker.string(), errno);
    fsync_directory(data_directory_);
}

void LocalServer::write_settings(const Settings& settings, const std::vector<std::string>& removed) {
    if (is_running())
        throw Error(data_directory_.string() + ": settings can't be written while the server runs",
                    "use ALTER SYSTEM");
    Settings merged = read_settings();
    for (const std::string& name : removed) merged.erase(name);
    for (const auto& [name, value] : settings) merged.insert_or_assign(name, value);
    write_file_durably(data_directory_ / kSettingsFile, to_settings_text(merged), 0600, account_.ids);
}

Settings LocalServer::read_settings() const {
    try {
        return parse_settings(read_file(data_directory_ / kSettingsFile));
    } catch (const SystemError& problem) {
        if (problem.error_number() == ENOENT) return {};
        throw;
    } catch (const ConfigError& problem) {
        throw ConfigError(data_directory_.string() + ": " + problem.what(), problem.hint());
    }
}

Command LocalServer::postgres_command(const std::vector<std::string>& options) const {
    Command command{.arguments = {installation_.program("postgres").string(), "-D", data_directory_.string()},
                    .account = account_,
                    .directory = {},
                    .input = {},
                    .takes_variable = is_for_a_server};
    command.arguments.insert(command.arguments.end(), options.begin(), options.end());
    return command;
}

CommandResult LocalServer::run_postgres(const std::vector<std::string>& arguments) const {
    std::vector<std::string> options = locations_of_files(options_of_last_start(data_directory_));
    options.insert(options.end(), arguments.begin(), arguments.end());
    return run(postgres_command(options), stop_fd_);
}

Settings LocalServer::configured(const std::vector<std::string>& names) const {
    Settings settings;
    for (const std::string& name : names)
        if (auto value = value_after_start(name, {})) settings[name] = std::move(*value);
    return settings;
}

Settings LocalServer::normalized(const Settings& values) const {
    Settings settings;
    for (const auto& [name, value] : values)
        if (auto words = value_after_start(name, {"-c", fmt::format("{}={}", name, value)}))
            settings[name] = std::move(*words);
    return settings;
}

std::optional<std::string> LocalServer::value_after_start(const std::string& name,
                                                          std::vector<std::string> options) const {
    options.insert(options.end(), {"-C", name});
    const CommandResult answer = run_postgres(options);
    if (answer.exit_status != 0) {
        diagnostics::detail(
            fmt::format("{}: postgres -C {}: {}", data_directory_.string(), name, answer.output));
        return std::nullopt;
    }
    // Warnings about the files may stand before it.
    std::string_view output = answer.output;
    if (output.ends_with('\n')) output.remove_suffix(1);
    return std::string{output.substr(output.rfind('\n') + 1)};
}

void LocalServer::check_settings(const Settings& settings) const {
    std::vector<std::string> arguments;
    for (const auto& [name, value] : settings) {
        arguments.emplace_back("-c");
        arguments.push_back(fmt::format("{}={}", name, value));
    }
    arguments.insert(arguments.end(), {"-C", "data_directory"});
    const CommandResult answer = run_postgres(arguments);
    if (answer.exit_status != 0)
        throw ConfigError(fmt::format("{}: the server does not take these settings: {}",
                                      data_directory_.string(), last_lines(answer.output, 5)),
                          "mend them in the file");
}

bool LocalServer::is_running() const {
    return is_server_running(data_directory_);
}

fs::path LocalServer::log_file() const {
    return log_beside(data_directory_);
}

std::string LocalServer::log_tail() const {
    return tail_of_log(log_file(), 0, data_directory_);
}

void LocalServer::wait_for_leftovers(const fs::path& directory) const {
    const SteadyTime deadline = steady_now() + kLeftoverTimeout;
    for (const pid_t pid : server_processes(directory)) {
        const FileDescriptor process = open_process(pid);
        const auto left = std::chrono::ceil<milliseconds>(deadline - steady_now()).count();
        if (process &&
            wait_for(process.get(), POLLIN, static_cast<int>(std::max<long>(left, 0)), stop_fd_) == 0)
            throw SystemError(fmt::format("{}: process {} of a server that is gone still runs",
                                          data_directory_.string(), pid),
                              0, fmt::format("end it: kill {}", pid));
    }
}

void LocalServer::wait_until_ready(const DetachedProcess& server, const fs::path& log,
                                   std::uintmax_t log_begin, milliseconds standby_timeout) const {
    using Status = PostmasterPid::Status;
    constexpr int kLookMs = 20;
    constexpr int kLooksPerLogin = 25;  // each refused login is a line in the server's log
    const auto fail = [&](const char* what) {
        throw SystemError(fmt::format("the server in {} {}; its log ends:\n{}", data_directory_.string(),
                                      what, tail_of_log(log, log_begin, data_directory_)),
                          0, "the whole log is in " + log.string());
    };
    const bool is_standby = fs::exists(data_directory_ / "standby.signal");
    const SteadyTime deadline = steady_now() + standby_timeout;
    for (int look = 1;; ++look) {
        if (!server.pidfd || wait_for(server.pidfd.get(), POLLIN, kLookMs, stop_fd_) != 0)
            fail("did not start");
        const auto file = read_postmaster_pid(data_directory_);
        if (!file || file->pid != server.pid) continue;
        if (file->status == Status::kReady || file->status == Status::kStandby) return;
        if (!is_standby) continue;
        if (standby_timeout.count() == 0 && file->status == Status::kStarting) return;
        if (look % kLooksPerLogin == 0 && answers_or_replays(*file, data_directory_, stop_fd_)) return;
        if (standby_timeout.count() > 0 && steady_now() > deadline)
            fail("runs, but gets no WAL to start from");
    }
}

void LocalServer::start(milliseconds standby_timeout) {
    start_with(locations_of_files(options_of_last_start(data_directory_)), standby_timeout);
}

void LocalServer::restart(milliseconds standby_timeout) {
    const std::vector<std::string> options = options_of_last_start(data_directory_);
    stop();
    start_with(options, standby_timeout);
}

void LocalServer::start_with(const std::vector<std::string>& options, milliseconds standby_timeout) {
    require_access();
    const fs::path log = log_file();
    if (is_running()) {
        const pid_t pid = read_postmaster_pid(data_directory_).value_or(PostmasterPid{}).pid;
        wait_until_ready({pid, open_process(pid)}, log, 0, standby_timeout);
        return;
    }
    if (const auto stale = read_postmaster_pid(data_directory_)) {
        wait_for_leftovers(data_directory_);
        remove_stale_locks(data_directory_, *stale);
    }
    const FileDescriptor output = open_log(log, data_directory_, account_);
    const std::uintmax_t log_begin = fs::file_size(log);
    diagnostics::detail("starting the server in " + data_directory_.string());
    const DetachedProcess server = start_detached(postgres_command(options), output.get());
    try {
        wait_until_ready(server, log, log_begin, standby_timeout);
    } catch (const Stopped&) {
        // It goes on starting; whoever wants to stop it looks into postmaster.pid.
        wait_for_pid_file(data_directory_, server);
        throw;
    }
}

void LocalServer::stop(StopMode mode, milliseconds timeout) {
    stop_server(data_directory_, mode, timeout, stop_fd_);
}

void stop_server(const fs::path& data_directory, StopMode mode, milliseconds timeout, int stop_fd) {
    const auto file = read_postmaster_pid(data_directory);
    if (!file) return;
    const FileDescriptor process = open_process(file->pid);
    if (!process && errno == ESRCH) return;
    if (!process) throw SystemError(fmt::format("can't watch process {}", file->pid), errno);
    // Looked at only now that the number can't pass to another process.
    if (!is_server_process(file->pid, data_directory)) return;
    if (::syscall(SYS_pidfd_send_signal, process.get(), stop_signal(mode), nullptr, 0) != 0) {
        if (errno == ESRCH) return;
        throw SystemError("can't stop the server in " + data_directory.string(), errno,
                          "run pgcascade as the account that the server runs as, or as root");
    }
    const int timeout_ms = timeout.count() > 0 ? static_cast<int>(timeout.count()) : -1;
    if (wait_for(process.get(), POLLIN, timeout_ms, stop_fd) == 0)
        throw SystemError(
            fmt::format("the server in {} has not stopped within {} ms; its log ends:\n{}",
                        data_directory.string(), timeout.count(),
                        tail_of_log(log_beside(data_directory), 0, data_directory)),
            0, "it waits for its clients (smart) or its standbys (fast): stop it with another mode");
}

}  // namespace pgcascade::postgres
