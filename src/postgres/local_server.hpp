#pragma once

#include <chrono>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/subprocess.hpp"
#include "postgres/installation.hpp"
#include "postgres/settings_file.hpp"

// A server on this machine: made, configured, started and stopped through its own programs. It outlives this
// process. Not for use by two threads at once; two processes are kept apart by postmaster.pid.
// Source: PostgreSQL, miscadmin.h and utils/init/miscinit.c (postmaster.pid), pg_ctl.c, initdb.c.

namespace pgcascade::postgres {

enum class StopMode { kSmart, kFast, kImmediate };

// Of the environment: what a server that is started gets. PG… is libpq's, and for whoever runs this program;
// PG_… is the server's own.
bool is_for_a_server(std::string_view variable);

// Returns once the server has ended, at once where none runs. A fast stop of an upstream waits until its
// standbys have received everything. Needs no program of PostgreSQL's. Throws SystemError when it takes
// longer than `timeout` (0: no limit), Stopped where stop_fd gets readable.
void stop_server(const std::filesystem::path& data_directory, StopMode mode,
                 std::chrono::milliseconds timeout, int stop_fd);

class LocalServer {
  public:
    // stop_fd: where it gets readable, the waits of init(), start() and stop() end with Stopped.
    LocalServer(Installation installation, Account account, const std::filesystem::path& data_directory,
                int stop_fd = -1);

    // The account that a server with this data directory has to run as: the directory's owner where it exists
    // and is not root; else whoever runs this process, or, where that is root, `postgres`, or what the
    // environment's SUDO_USER names, or `nobody`. Throws ConfigError where there is none.
    static Account account_for(const std::filesystem::path& data_directory);

    // Throws ConfigError where this process can't act as the account, or the account can't reach the
    // directory in which the data directory lies (a parent with mode 0700, say). init() and start() begin
    // with it.
    void require_access() const;

    struct InitOptions {
        std::string superuser;
        std::string superuser_password;           // never on a command line, never in a file
        std::vector<std::string> hba_lines = {};  // behind initdb's own, which let in who is on this machine
        Settings settings = {};                   // a cluster that is there has them
    };
    // initdb with data checksums, UTF8, locale C.UTF-8, scram-sha-256, and its Unix socket in /tmp, which
    // every machine has, where the settings name no other. The data directory may be missing, empty or a
    // partial one of ours, which is cleared; its missing parents are made. All or nothing: cut off at any
    // moment, the directory holds the unfinished marker. Throws ConfigError for a directory that is in the
    // way and for settings that the server does not take, SystemError with what initdb said.
    void init(const InitOptions& options);

    // Merges into postgresql.auto.conf, and takes out those in `removed`, durably, while the server is down
    // (ALTER SYSTEM does it while it is up). Throws Error where it runs.
    void write_settings(const Settings& settings, const std::vector<std::string>& removed = {});
    Settings read_settings() const;  // of postgresql.auto.conf

    // What the settings would be after a start, by the files, in
    // PostgreSQL's base units. A name that this server does not know is left out; so is everything where its
    // files can't be read. Throws SystemError where the account can't be acted as.
    Settings configured(const std::vector<std::string>& names) const;

    // These values in the same words, so that they can be compared with configured(): "16MB" of
    // shared_buffers is 2048. What the server does not take is left out.
    Settings normalized(const Settings& values) const;

    // Asks the server's own program whether it takes these settings: once they are in a file, a bad one keeps
    // it from starting. Throws ConfigError with its answer.
    void check_settings(const Settings& settings) const;

    bool is_running() const;  // as is_server_running() has it

    // Starts the server; of the options of its last start (postmaster.opts) only those that say where its
    // files are stay. Returns once it takes connections, or replays as a standby that does not yet; at once
    // where it runs already. Waits as long as its recovery lasts, but a new standby that gets no WAL from its
    // upstream waits for ever: after standby_timeout this throws, and leaves it running; 0 returns once it
    // runs. Throws SystemError with the tail of its log.
    void start(std::chrono::milliseconds standby_timeout = std::chrono::milliseconds{60'000});

    // As stop_server().
    void stop(StopMode mode = StopMode::kFast,
              std::chrono::milliseconds timeout = std::chrono::milliseconds{60'000});

    // Stops it (fast) and starts it with the options that it runs with, as pg_ctl restart does.
    void restart(std::chrono::milliseconds standby_timeout = std::chrono::milliseconds{60'000});

    // Where start() sends what the server prints: log_beside(). A server with a logging_collector goes on in
    // files of its own.
    std::filesystem::path log_file() const;
    std::string log_tail() const;  // its last lines, for a message
    const std::filesystem::path& data_directory() const { return data_directory_; }
    const Account& account() const { return account_; }

  private:
    std::optional<std::string> value_after_start(const std::string& name,
                                                 std::vector<std::string> options) const;
    Command postgres_command(const std::vector<std::string>& options) const;
    void start_with(const std::vector<std::string>& options, std::chrono::milliseconds standby_timeout);
    CommandResult run_postgres(const std::vector<std::string>& arguments) const;
    void prepare_data_directory() const;
    void run_initdb(const InitOptions& options, const std::filesystem::path& directory) const;
    // The processes of a killed server or initdb live on for a moment and are in the way of the next.
    void wait_for_leftovers(const std::filesystem::path& directory) const;
    void wait_until_ready(const DetachedProcess& server, const std::filesystem::path& log,
                          std::uintmax_t log_begin, std::chrono::milliseconds standby_timeout) const;

    Installation installation_;
    Account account_;
    std::filesystem::path data_directory_;
    int stop_fd_;
};

}  // namespace pgcascade::postgres
