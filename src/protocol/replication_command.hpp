#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <pgcascade/lsn.hpp>

// The commands of a replication connection, as values: to_string() writes what a server of 15 to 18 takes,
// parse_command() reads what any client sends (old bare options and new parenthesised ones). Each is the
// other's inverse, for names of up to 63 bytes. Source: PostgreSQL, replication/repl_gram.y and
// repl_scanner.l; manual, "Streaming Replication Protocol".

namespace pgcascade::protocol {

struct CommandOption {
    std::string name;                  // in lower case, as the server knows it: "snapshot", "proto_version"
    std::optional<std::string> value;  // none: a bare flag
    bool operator==(const CommandOption&) const = default;
};

struct IdentifySystem {
    bool operator==(const IdentifySystem&) const = default;
};

struct Show {
    std::string setting;
    bool operator==(const Show&) const = default;
};

struct TimelineHistory {
    TimelineId timeline;
    bool operator==(const TimelineHistory&) const = default;
};

struct ReadReplicationSlot {
    std::string slot;
    bool operator==(const ReadReplicationSlot&) const = default;
};

struct CreateReplicationSlot {
    std::string slot;
    bool temporary = false;
    std::string plugin;                  // empty: a physical slot
    std::vector<CommandOption> options;  // reserve_wal, snapshot 'nothing', two_phase, failover
    bool operator==(const CreateReplicationSlot&) const = default;
};

struct DropReplicationSlot {
    std::string slot;
    bool wait = false;
    bool operator==(const DropReplicationSlot&) const = default;
};

struct AlterReplicationSlot {
    std::string slot;
    std::vector<CommandOption> options;
    bool operator==(const AlterReplicationSlot&) const = default;
};

struct StartPhysicalReplication {
    std::optional<std::string> slot;
    Lsn start;
    std::optional<TimelineId> timeline;
    bool operator==(const StartPhysicalReplication&) const = default;
};

struct StartLogicalReplication {
    std::string slot;
    Lsn start;
    std::vector<CommandOption> options;  // the plugin's: proto_version '1', publication_names '"p"', …
    bool operator==(const StartLogicalReplication&) const = default;
};

struct BaseBackup {
    std::vector<CommandOption> options;
    bool operator==(const BaseBackup&) const = default;
};

struct UploadManifest {
    bool operator==(const UploadManifest&) const = default;
};

// Anything else is SQL, which a logical replication connection may run (walsender.c:
// exec_replication_command).
struct Sql {
    std::string text;
    bool operator==(const Sql&) const = default;
};

using ReplicationCommand =
    std::variant<IdentifySystem, Show, TimelineHistory, ReadReplicationSlot, CreateReplicationSlot,
                 DropReplicationSlot, AlterReplicationSlot, StartPhysicalReplication, StartLogicalReplication,
                 BaseBackup, UploadManifest, Sql>;

// Throws ProtocolError with PostgreSQL's wording, a bare "syntax error", where a replication keyword starts
// the text and the rest does not follow the grammar; the hint says where, and what was expected. Identifiers
// are folded and cut as the server does it. Keywords are taken in any case, though a server of 15 to 18 knows
// them in upper case only: what starts with a keyword in another case and does not follow the grammar is SQL,
// as it is to the server ("show time zone").
ReplicationCommand parse_command(std::string_view text);

std::string to_string(const ReplicationCommand& command);

// Always quoted. A name with a quote in it, "a""b", is understood here but not by a server's replication
// grammar; no slot, plugin or option has such a name.
std::string quote_identifier(std::string_view name);
std::string quote_literal(std::string_view text);  // 'it''s'

}  // namespace pgcascade::protocol
