#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "postgres/clone.hpp"
#include "postgres/local_relay.hpp"
#include "postgres/local_server.hpp"
#include "tree/cascade_file.hpp"
#include "tree/observation.hpp"

// Where a node's commands run. All that SQL can't do goes through here; today that is this machine, and a
// node elsewhere can only be asked and changed by SQL. Several threads may each have a Host of their own.

namespace pgcascade::tree {

class Host {
  public:
    Host(const Cascade& cascade, const Node& node, int stop_fd);

    // By the node's host: a loopback name, the directory of a Unix socket, or an address of an interface.
    bool is_this_machine() const { return is_this_machine_; }

    // What is there, without the server's help. Throws nothing but Stopped: what can't be looked at is a
    // `problem`.
    HostState look() const;
    // The same, and what a server that does not answer would say: its slots, and the configured values of
    // these settings. That is slow: its program runs once for each.
    HostState look_closely(const std::vector<std::string>& names) const;

    // Everything below throws ConfigError, with what to do by hand, where the node is elsewhere.

    // Whether a server, or a relay, works in the node's data directory.
    bool is_server_running() const;

    // The server in the node's data directory. Throws ConfigError where its version is not installed.
    postgres::LocalServer server() const;
    // The one to be made there: of that major version, or the newest where that is nothing.
    postgres::LocalServer new_server(std::optional<int> major_version) const;

    // The relay in the node's directory.
    postgres::LocalRelay relay() const;
    // Makes its directory and writes its files, relay.toml first: by that one it is known as ours.
    void write_relay_file(const std::string& content) const;
    void write_relay_users(const std::string& content) const;
    // The same while it runs, which then reads them; cut off in between, has_unread_users tells.
    void replace_relay_users(const std::string& content) const;

    // Makes a stopped cluster a standby: the settings, without the ones named in `removed`, then
    // standby.signal.
    void make_standby(const postgres::Settings& settings, const std::vector<std::string>& removed) const;

    // A clone lacks the files that a server needs where its source keeps them outside of the data directory
    // (as Debian does).
    bool lacks_configuration() const;
    void add_missing_configuration(const std::string& hba_content) const;

    // Appends the line to that pg_hba.conf, in one atomic act; false where it is there already.
    bool append_hba_line(const std::filesystem::path& hba_file, const std::string& line) const;

    // Which WAL segment a standby replays, as its process title says, before it takes connections too; empty
    // where that can't be seen.
    std::string replay_progress() const;

    postgres::CloneTarget clone_target() const;

    // Readable by the servers' account alone.
    void write_passfile(const std::filesystem::path& passfile, const std::string& content) const;

    Account account() const;

  private:
    void look_at_files(HostState& state) const;
    void look_at_relay(HostState& state) const;
    void look_at_silent_server(const std::vector<std::string>& names, HostState& state) const;
    void require_this_machine(const std::string& doing) const;
    std::optional<Problem> passfile_problem(const Account& account) const;

    const Cascade& cascade_;
    const Node& node_;
    int stop_fd_;
    bool is_this_machine_;
};

}  // namespace pgcascade::tree
