#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "postgres/connection.hpp"
#include "postgres/conninfo.hpp"
#include "postgres/local_server.hpp"

// cascade.toml: which servers and relays there are and who feeds whom. docs/cascade_file.md is its reference.

namespace pgcascade::tree {

enum class NodeKind { kServer, kRelay };

// What a relay fetches of one database; with the publications it is how subscribers ask for it.
struct Feed {
    std::string name;
    std::string database;
    std::vector<std::string> publications;  // at least one, none twice
    int line = 0;                           // in the file
};

struct Node {
    std::string name;
    NodeKind kind = NodeKind::kServer;
    std::optional<std::string> upstream;  // nothing: the primary
    std::string host = "127.0.0.1";
    std::uint16_t port = 5432;
    std::filesystem::path data_directory;  // absolute
    bool create = false;                   // the primary may be made by initdb where it does not exist
    std::string slot;  // on the upstream; default: the name, in lower case, with '-' and '.' as '_'
    postgres::Settings settings;  // those of [settings] overlaid by the node's own
    // Where the upstream has a tablespace -> where this node has it.
    std::map<std::string, std::filesystem::path> tablespaces;
    int line = 0;  // in the file

    // Of a relay:
    std::vector<Feed> feeds;
    bool wal = false;                                   // it relays WAL, for the standbys below it
    int no_wal_line = 0;                                // where the file says wal = false; 0: it does not
    std::map<std::string, std::string> relay_settings;  // keys of its [relay], with their values as TOML

    bool is_relay() const { return kind == NodeKind::kRelay; }
    std::string slot_of(const Feed& feed) const { return slot + "_" + feed.name; }
    // All that it has on its upstream.
    std::vector<std::string> slots() const;
};

struct Cascade {
    std::string name;
    std::filesystem::path file;
    std::string user = "postgres";                // whom pgcascade connects as: a superuser
    std::string replication_user = "replicator";  // whom standbys connect as
    std::string dbname = "postgres";
    // libpq's password file, for both roles; nothing: libpq's own rules. Absolute.
    std::optional<std::filesystem::path> passfile;
    // The operating system account of servers that are made here; nothing: LocalServer::account_for decides.
    std::optional<std::string> account;
    std::vector<Node> nodes;  // every upstream before its downstreams; siblings as the file has them

    const Node& primary() const { return nodes.front(); }
    const Node& node(const std::string& node_name) const;  // throws ConfigError that names the known ones
    std::vector<const Node*> downstreams(const std::string& node_name) const;
    bool has_relays() const;

    // The nearest upstream that is a server: a relay has no data to be cloned.
    const Node& server_above(const Node& node) const;

    // How pgcascade itself connects to a node, a relay with replication_of(node).
    postgres::Conninfo conninfo(const Node& node) const;
    // What goes into a standby's primary_conninfo: no password, only where it is found.
    postgres::Conninfo upstream_conninfo(const Node& node) const;
    // The same to that node: the server from which a standby is cloned.
    postgres::Conninfo conninfo_as(const Node& child, const Node& upstream) const;
    // By which a relay fetches a feed.
    postgres::Conninfo feed_conninfo(const Node& relay, const Feed& feed) const;
};

// Relative paths are relative to the file. Throws ConfigError, as "file:line: what is wrong" with a hint, for
// a syntax error, an unknown key (with the nearest known one), a value of the wrong type or out of range, a
// setting that pgcascade writes itself, an unknown upstream, a cycle, two primaries or none, `create` on a
// standby or without a passfile, a port, a directory or a slot used twice, a relay without an upstream or
// with nothing to relay, and who needs of a relay what that does not have.
Cascade read_cascade_file(const std::filesystem::path& file);

// As a client of what a relay is asked: kNone for a server.
postgres::Replication replication_of(const Node& node);

// A loopback name, or the directory of a Unix socket. Tells from the name alone.
bool is_this_machine_name(const std::string& host);

// Whether two hosts of the file are surely the same machine. Tells from the names alone.
bool is_same_machine_name(const std::string& one, const std::string& other);

}  // namespace pgcascade::tree
