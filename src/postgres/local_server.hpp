#pragma once

#include <chrono>
#include <filesystem>
#include <map>
#include <string>

#include "base/subprocess.hpp"
#include "postgres/installation.hpp"

// A server on this machine: made, configured, started and stopped through its own programs.

namespace pgcascade::postgres {

using Settings = std::map<std::string, std::string>;

class LocalServer {
  public:
    LocalServer(Installation installation, Account account, std::filesystem::path data_directory,
                int stop_fd = -1);

    // The account that a server with this data directory has to run as: the directory's owner where it
    // exists; else whoever runs this process, or, where that is root, `postgres`, or what the environment's
    // SUDO_USER names, or `nobody`.
    static Account account_for(const std::filesystem::path& data_directory);

    struct InitOptions {
        std::string superuser;
        std::string superuser_password;  // never on a command line
    };
    // initdb with data checksums, UTF8, locale C.UTF-8, scram-sha-256. All or nothing: a cut-off initdb
    // leaves nothing that looks like a cluster. Throws SystemError with what initdb said.
    void init(const InitOptions& options);

    // Merges into postgresql.auto.conf, durably, while the server is down (ALTER SYSTEM does it while it is
    // up).
    void write_settings(const Settings& settings);
    Settings read_settings() const;  // of postgresql.auto.conf

    bool is_running() const;  // by postmaster.pid and a living process
    void
    start();  // returns once it takes connections or is a standby that replays; throws with the log's tail
    enum class StopMode { kSmart, kFast, kImmediate };
    void stop(StopMode mode = StopMode::kFast);
    void restart() {
        stop();
        start();
    }

    std::filesystem::path log_file() const;  // <data_directory>/log/… or where `start` sends it
    const std::filesystem::path& data_directory() const { return data_directory_; }

  private:
    Installation installation_;
    Account account_;
    std::filesystem::path data_directory_;
    int stop_fd_;
};

}  // namespace pgcascade::postgres
