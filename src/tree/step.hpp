#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "postgres/local_server.hpp"

// What a plan is made of: plain data. Each kind says in text() what it will do, in plain words, and apply
// does just that. All of them can be done again: a step that was cut off, or whose work is there already,
// ends in the same state.

namespace pgcascade::tree {

// Generates the passwords that are missing in the passfile and writes it, for the servers' account alone.
struct WritePassfile {
    static constexpr std::string_view kKind = "write_passfile";
    std::string node;  // whose host and account
    std::filesystem::path file;
    std::vector<std::string> roles;
    std::string text() const;
};

struct CreateCluster {
    static constexpr std::string_view kKind = "create_cluster";
    std::string node;
    std::filesystem::path data_directory;
    std::vector<std::string> hba_lines;  // beyond those that initdb writes
    postgres::Settings settings;         // a cluster that exists has them: nobody could tell later
    std::string text() const;
};

// The settings of a server that is down.
struct Configure {
    static constexpr std::string_view kKind = "configure";
    std::string node;
    postgres::Settings settings;
    std::string text() const;
};

// Makes a server that is down a standby of its upstream: settings, primary_conninfo, primary_slot_name,
// standby.signal.
struct MakeStandby {
    static constexpr std::string_view kKind = "make_standby";
    std::string node;
    std::string upstream;
    std::string slot;
    postgres::Settings settings;
    std::vector<std::string> removed;  // settings that a clone brought along and that are its source's alone
    std::string text() const;
};

// A relay as well: the next three steps are of servers and relays.
struct StartServer {
    static constexpr std::string_view kKind = "start";
    std::string node;
    std::string text() const;
};

struct StopServer {
    static constexpr std::string_view kKind = "stop";
    std::string node;
    std::string because;
    std::string text() const;
};

struct RestartServer {
    static constexpr std::string_view kKind = "restart";
    std::string node;
    std::vector<std::string> settings;  // for the sake of which
    std::string text() const;
};

// Waits until a server that is starting takes connections.
struct WaitForServer {
    static constexpr std::string_view kKind = "wait_for_server";
    std::string node;
    std::string text() const;
};

// ALTER SYSTEM on a running server, and a reload.
struct SetSettings {
    static constexpr std::string_view kKind = "set_settings";
    std::string node;
    postgres::Settings settings;
    std::vector<std::string> need_restart;  // of `settings`: they count after the next start only
    std::string text() const;
};

// The replication role: made where it is missing, given LOGIN and REPLICATION where it lacks them.
struct EnsureRole {
    static constexpr std::string_view kKind = "ensure_role";
    enum class Known { kMissing, kLacksRights, kUnknown };
    std::string node;
    std::string role;
    Known known = Known::kMissing;
    bool has_password = false;  // the passfile gives one
    std::string text() const;
};

// Lines of pg_hba.conf that let the replication role in, and a reload.
struct AllowReplication {
    static constexpr std::string_view kKind = "allow_replication";
    std::string node;
    std::vector<std::string> lines;
    bool only_where_refused = false;  // the server was down: whether it lacks them shows when it is up
    std::string text() const;
};

struct CreateSlot {
    static constexpr std::string_view kKind = "create_slot";
    std::string node;
    std::string slot;
    std::string downstream;
    bool replaces_unusable = false;  // one of that name is there, and has lost its WAL or never kept any
    bool where_missing = false;      // whether it is there shows only once the node is up
    std::string text() const;
};

// The logical slot, of pgoutput, through which a relay fetches a feed.
struct CreateFeedSlot {
    static constexpr std::string_view kKind = "create_feed_slot";
    std::string node;
    std::string slot;
    std::string database;
    std::string relay;
    bool where_missing = false;
    std::string text() const;
};

// relay.toml and the users of a relay that is down.
struct WriteRelayFiles {
    static constexpr std::string_view kKind = "write_relay_files";
    std::string node;
    std::filesystem::path file;
    std::vector<std::string> users;
    std::string text() const;
};

// The users of a relay that runs.
struct WriteRelayUsers {
    static constexpr std::string_view kKind = "write_relay_users";
    std::string node;
    std::vector<std::string> users;
    std::string text() const;
};

// Until a relay has all that its new upstream's slots do not keep for it.
struct WaitReceived {
    static constexpr std::string_view kKind = "wait_received";
    std::string node;
    std::string upstream;
    std::string text() const;
};

// Until a relay listens, and receives all that it is to relay.
struct WaitRelay {
    static constexpr std::string_view kKind = "wait_relay";
    std::string node;
    std::string upstream;
    std::string text() const;
};

// All targets are fed from one backup stream.
struct CloneNodes {
    static constexpr std::string_view kKind = "clone";
    struct Target {
        std::string node;
        std::filesystem::path data_directory;
    };
    std::string node;  // the source
    std::vector<Target> targets;
    std::string text() const;
};

// primary_conninfo and primary_slot_name of a running standby, and a reload.
struct StreamFrom {
    static constexpr std::string_view kKind = "stream_from";
    std::string node;
    std::string upstream;
    std::string slot;
    std::string previous;  // whom it streams from now, where that is another node of the file
    std::string text() const;
};

// Until the standby's walreceiver streams and its upstream's walsender serves it through the slot.
struct WaitStreaming {
    static constexpr std::string_view kKind = "wait_streaming";
    std::string node;
    std::string upstream;
    std::string slot;
    std::string text() const;
};

// Until the standby has replayed, for good, all that the primary has written: what the primary lowered may
// then be lowered here.
struct WaitReplayed {
    static constexpr std::string_view kKind = "wait_replayed";
    std::string node;
    std::string primary;
    std::string text() const;
};

struct DropSlot {
    static constexpr std::string_view kKind = "drop_slot";
    std::string node;
    std::string slot;
    std::string downstream;  // who used it
    bool is_logical = false;
    std::string text() const;
};

using Step = std::variant<WritePassfile, CreateCluster, Configure, MakeStandby, StartServer, StopServer,
                          RestartServer, WaitForServer, SetSettings, EnsureRole, AllowReplication, CreateSlot,
                          CreateFeedSlot, WriteRelayFiles, WriteRelayUsers, WaitReceived, WaitRelay,
                          CloneNodes, StreamFrom, WaitStreaming, WaitReplayed, DropSlot>;

std::string text(const Step& step);
std::string_view kind(const Step& step);
const std::string& node(const Step& step);

// Whether clients of a running server notice it, or something is removed: a person may want to be asked.
bool is_disruptive(const Step& step);

}  // namespace pgcascade::tree
