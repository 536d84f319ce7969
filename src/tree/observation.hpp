#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <pgcascade/lsn.hpp>

#include "postgres/conninfo.hpp"
#include "postgres/data_directory.hpp"
#include "postgres/relay_server.hpp"
#include "postgres/slots.hpp"

// What probe() saw, as plain data: whoever plans, draws or diagnoses a tree asks no server himself.

namespace pgcascade::tree {

// pg_stat_wal_receiver: where a standby gets its WAL from.
struct Receiver {
    std::string status;  // "streaming", "starting", "waiting", …
    std::string slot;    // empty: none
    std::string sender_host;
    int sender_port = 0;
    TimelineId timeline;
    std::optional<Lsn> written;
    std::optional<Lsn> flushed;
    std::optional<Lsn> latest_end;  // of the upstream's WAL, as it said last
};

// A row of pg_stat_replication: whom a server feeds. A lag is in microseconds; nothing where the server does
// not know it, as when it has been idle.
struct Downstream {
    int pid = 0;
    std::string application_name;
    std::string client_address;  // empty: Unix socket
    std::string state;           // "streaming", "catchup", "backup", …
    std::string slot;            // empty: none
    std::optional<Lsn> sent;
    std::optional<Lsn> written;
    std::optional<Lsn> flushed;
    std::optional<Lsn> replayed;
    std::optional<std::int64_t> write_lag_us;
    std::optional<std::int64_t> flush_lag_us;
    std::optional<std::int64_t> replay_lag_us;
    std::string sync_state;
    std::optional<std::int64_t> lag_bytes;  // only a relay says so itself
};

// A row of pg_settings, and what the configuration files say by now.
struct Setting {
    std::string value;    // in `unit`s
    std::string unit;     // "8kB", "ms", …; empty: none
    std::string type;     // bool, integer, real, string, enum
    std::string context;  // "postmaster": a change needs a restart
    std::string source;
    bool pending_restart = false;
    std::optional<std::string> in_files;  // as written, with or without a unit; nothing: in no file
};

struct Role {
    bool can_login = false;
    bool can_replicate = false;
};

// What only a relay has.
struct RelayState {
    std::vector<postgres::RelayFeed> feeds;
    std::optional<postgres::RelayWal> wal = {};  // nothing: it relays none

    // Its upstream; where it has several, that of the WAL first. Nothing while it is connected to none.
    std::optional<postgres::RelaySender> sender() const {
        if (wal && wal->sender) return wal->sender;
        for (const postgres::RelayFeed& feed : feeds)
            if (feed.sender) return feed.sender;
        return std::nullopt;
    }

    const postgres::RelayFeed* find_feed(const std::string& name) const {
        for (const postgres::RelayFeed& feed : feeds)
            if (feed.name == name) return &feed;
        return nullptr;
    }
};

// What a server answered, or a relay: that one counts as in recovery, and has no settings, roles or files.
struct ServerState {
    int version = 0;  // 150018
    std::string version_name;
    std::uint64_t system_identifier = 0;
    TimelineId timeline;
    bool in_recovery = false;
    bool is_superuser = false;    // whom we are; without that `settings` may lack what is secret
    std::optional<Lsn> inserted;  // a primary
    std::optional<Lsn> flushed;   // a primary
    std::optional<Lsn> received;  // a standby: flushed there
    std::optional<Lsn> replayed;  // a standby
    std::optional<std::int64_t> last_replayed_age_us;  // a standby: since the last replayed commit was made
    std::optional<Receiver> receiver;                  // nothing: none runs
    std::vector<Downstream> downstreams;
    std::vector<postgres::Slot> slots;
    std::map<std::string, Setting> settings;  // those asked for, by lower-case name
    std::optional<Role> replication_role;     // nothing: there is no such role
    std::string data_directory;               // superuser
    std::string config_file;                  // superuser
    std::string hba_file;                     // superuser
    std::optional<RelayState> relay;          // nothing: a server

    // Where its WAL ends, for whom it feeds.
    std::optional<Lsn> end_of_wal() const { return in_recovery ? received : flushed; }
    const postgres::Slot* find_slot(const std::string& name) const {
        for (const postgres::Slot& slot : slots)
            if (slot.name == name) return &slot;
        return nullptr;
    }
    const Setting* find_setting(const std::string& name) const {
        const auto found = settings.find(name);
        return found == settings.end() ? nullptr : &found->second;
    }
};

// Why something is not as it should be, for people.
struct Problem {
    std::string what;
    std::string hint;
};

// Whether the replication role gets in, tried with a walreceiver's own connection string.
struct ReplicationLogin {
    enum class Outcome {
        kNotTried,
        kWorks,
        kNoHbaLine,  // a line has to be added
        kRefused,    // a wrong password, a line that rejects, no such right: see `problem`
    };
    Outcome outcome = Outcome::kNotTried;
    Problem problem;
};

// What the node's host tells. Without a server, that is all there is.
struct HostState {
    bool is_this_machine = false;  // else nothing below is known
    // Of a relay, kCluster is a directory with a relay.toml that apply has written.
    postgres::DataDirectory directory;
    bool is_running = false;        // a postmaster, or a relay, works in the directory
    bool has_backup_label = false;  // a base backup on which no server has run yet
    std::string account;            // as which the server runs, or will
    // What the server's files say, while it does not answer: by name, in PostgreSQL's base units. Only names
    // that are known to its version.
    std::map<std::string, std::string> configured;
    // What the cascade file wants of this node, in the same words; only where `configured` differs from it.
    std::map<std::string, std::string> wanted;
    std::set<std::string> slots;              // while it does not answer: the names of those it has
    std::optional<Problem> passfile_problem;  // its walreceiver could not use the passfile
    std::optional<Problem> problem;           // the directory can't be looked at

    // Of a relay: its files, as they are there.
    std::optional<std::string> relay_file;
    std::optional<std::string> users_file;
    bool has_unread_users = false;      // they were written, and perhaps not read by the relay that runs
    std::set<std::string> relay_feeds;  // those that it has a log of
};

// A base backup on which no server has run, and which is not a standby yet.
inline bool is_fresh_clone(const HostState& host) {
    return host.directory.state == postgres::DataDirectory::State::kCluster && host.has_backup_label &&
           !host.directory.is_standby && !host.is_running;
}

struct NodeObservation {
    std::optional<ServerState> server;  // nothing: see `unreachable`
    Problem unreachable;
    bool is_refused = false;   // it answered, and does not let us in
    bool is_starting = false;  // it answered that it is starting up, shutting down or not yet consistent
    // The server that answers works in another directory than the file says.
    bool is_other_server = false;
    HostState host;
    ReplicationLogin replication_login;  // of its downstreams, at this node
};

struct Passfile {
    bool has_user = false;              // an entry for Cascade::user on the primary
    bool has_replication_user = false;  // an entry for Cascade::replication_user on the primary
    std::optional<Problem> problem;     // it can't be read
};

// What relays need of the primary.
struct RelaySources {
    // The secrets (pg_authid.rolpassword) of those who log in at relays; empty: the role has none.
    std::map<std::string, std::string> secrets;
    // The publications of each database that feeds are of, as far as there is such a database.
    std::map<std::string, std::set<std::string>> publications;
};

struct Observation {
    std::map<std::string, NodeObservation> nodes;  // every node of the file
    Passfile passfile;
    // Only where the file has relays, for_plan was asked for, and the primary answers.
    std::optional<RelaySources> relay_sources;

    const NodeObservation& node(const std::string& name) const { return nodes.at(name); }
};

}  // namespace pgcascade::tree
