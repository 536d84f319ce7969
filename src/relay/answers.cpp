#include "relay/answers.hpp"

#include <cctype>
#include <charconv>
#include <set>

#include <fmt/format.h>

#include "base/file.hpp"
#include "protocol/command_lexer.hpp"
#include "relay/refusal.hpp"

namespace pgcascade::relay {

using protocol::Column;
using protocol::CommandOption;
using protocol::Row;

namespace {

// Its OID in pg_type, and how long a value is.
const Column kInt8{"", 20, 8};
const Column kBoolean{"", 16, 1};

constexpr int kNewestProtocol = 4;

Column named(std::string name, Column type = {"", 25, -1}) {
    type.name = std::move(name);
    return type;
}

// A whole answer of one row.
void append_row(std::string& out, const std::vector<Column>& columns, const Row& row, const char* tag) {
    protocol::append_row_description(out, columns);
    protocol::append_data_row(out, row);
    protocol::append_command_complete(out, tag);
}

std::string lower(std::string_view text) {
    std::string lowered{text};
    for (char& byte : lowered) byte = static_cast<char>(std::tolower(static_cast<unsigned char>(byte)));
    return lowered;
}

// As defGetBoolean (define.c).
bool read_boolean(const CommandOption& option) {
    const std::string value = lower(option.value.value_or("true"));
    if (value == "true" || value == "on" || value == "1") return true;
    if (value == "false" || value == "off" || value == "0") return false;
    throw ServerError(fmt::format("{} requires a Boolean value", option.name), "42601");
}

void check_protocol_version(const CommandOption& option) {
    const std::string text = option.value.value_or("");
    int version = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), version);
    if (error != std::errc{} || end != text.data() + text.size())
        throw ServerError("invalid proto_version", "22023");
    if (version > kNewestProtocol)
        throw ServerError(
            fmt::format("client sent proto_version={} but server only supports protocol {} or lower", version,
                        kNewestProtocol),
            "0A000");
    if (version < 1)
        throw ServerError(
            fmt::format("client sent proto_version={} but server only supports protocol 1 or higher",
                        version),
            "0A000");
}

// As SplitIdentifierString (varlena.c): names between commas, quoted or folded.
std::vector<std::string> split_identifiers(std::string_view text) {
    const auto fail = [] { throw ServerError("invalid publication_names syntax", "42602"); };
    std::vector<std::string> names;
    protocol::CommandLexer lexer{text};
    try {
        for (protocol::Token token = lexer.next();; token = lexer.next()) {
            using Kind = protocol::Token::Kind;
            if (token.kind != Kind::kWord && token.kind != Kind::kQuotedIdentifier) fail();
            names.push_back(token.text);
            token = lexer.next();
            if (token.kind == Kind::kEnd) return names;
            if (token.kind != Kind::kSymbol || token.text != ",") fail();
        }
    } catch (const ProtocolError&) {
        fail();
    }
    return names;
}

}  // namespace

void append_identify_system(std::string& out, const UpstreamFacts& facts, Lsn position,
                            const std::string& database) {
    const std::string timeline = std::to_string(facts.timeline.value);
    const std::string lsn = position.to_string();
    Row row{facts.system_identifier, timeline, lsn, std::nullopt};
    if (!database.empty()) row.back() = database;
    append_row(out, {named("systemid"), named("timeline", kInt8), named("xlogpos"), named("dbname")}, row,
               "IDENTIFY_SYSTEM");
}

void append_timeline_history(std::string& out, TimelineId timeline, std::string_view content) {
    const std::string name = fmt::format("{:08X}.history", timeline.value);
    append_row(out, {named("filename"), named("content")}, {name, content}, "TIMELINE_HISTORY");
}

void append_next_timeline(std::string& out, TimelineId timeline, Lsn switch_point) {
    const std::string id = std::to_string(timeline.value);
    const std::string lsn = switch_point.to_string();
    append_row(out, {named("next_tli", kInt8), named("next_tli_startpos")}, {id, lsn}, "START_STREAMING");
}

void append_show(std::string& out, const std::string& setting, const std::string& value) {
    append_row(out, {named(setting)}, {value}, "SHOW");
}

void append_created_slot(std::string& out, const Slot& slot, const std::optional<std::string>& snapshot) {
    const std::string position = slot.position.to_string();
    Row row{slot.name, position, std::nullopt, std::nullopt};
    if (snapshot) row[2] = *snapshot;
    if (slot.is_logical()) row[3] = "pgoutput";
    append_row(
        out, {named("slot_name"), named("consistent_point"), named("snapshot_name"), named("output_plugin")},
        row, "CREATE_REPLICATION_SLOT");
}

void append_read_slot(std::string& out, const std::optional<Slot>& slot, TimelineId timeline) {
    const std::string position = slot ? slot->position.to_string() : "";
    const std::string id = std::to_string(timeline.value);
    Row row{std::nullopt, std::nullopt, std::nullopt};
    if (slot) row[0] = "physical";
    if (slot && slot->position) {
        row[1] = position;
        row[2] = id;
    }
    append_row(out, {named("slot_type"), named("restart_lsn"), named("restart_tli", kInt8)}, row,
               "READ_REPLICATION_SLOT");
}

bool is_search_path_reset(std::string_view sql) {
    std::string compact;
    for (const char byte : sql)
        if (std::isspace(static_cast<unsigned char>(byte)) == 0 && byte != ';')
            compact += static_cast<char>(std::tolower(static_cast<unsigned char>(byte)));
    return compact == "selectpg_catalog.set_config('search_path','',false)";
}

std::optional<std::string> slot_of_synchronization(std::string_view sql) {
    constexpr std::string_view kBefore =
        "selectpg_is_in_recovery(),count(*)=1frompg_catalog.pg_replication_slotswhereslot_type='physical'and"
        "slot_name='";
    std::string compact;
    for (const char byte : lower(sql))
        if (std::isspace(static_cast<unsigned char>(byte)) == 0 && byte != ';') compact += byte;
    if (!compact.starts_with(kBefore) || !compact.ends_with('\'')) return std::nullopt;
    std::string name = compact.substr(kBefore.size(), compact.size() - kBefore.size() - 1);
    if (!is_slot_name(name)) return std::nullopt;
    return name;
}

void append_slot_synchronization(std::string& out, bool slot_exists) {
    append_row(out, {named("pg_is_in_recovery", kBoolean), named("?column?", kBoolean)},
               {"t", slot_exists ? "t" : "f"}, "SELECT 1");
}

void append_search_path_reset(std::string& out) {
    append_row(out, {named("set_config")}, {""}, "SELECT 1");
}

protocol::Report report_of(const Error& problem, const char* severity) {
    protocol::Report report{.severity = severity, .sqlstate = "XX000", .message = problem.what()};
    report.hint = problem.hint();
    if (const auto* refusal = dynamic_cast<const Refusal*>(&problem)) report.detail = refusal->detail();
    if (const auto* answer = dynamic_cast<const ServerError*>(&problem);
        answer && !answer->sqlstate().empty())
        report.sqlstate = answer->sqlstate();
    else if (const auto* failure = dynamic_cast<const SystemError*>(&problem))
        report.sqlstate = is_out_of_room(*failure) ? "53100" : "58030";
    else if (dynamic_cast<const ProtocolError*>(&problem))
        report.sqlstate = report.message.starts_with("syntax error") ? "42601" : "08P01";
    else if (dynamic_cast<const ConnectionError*>(&problem))
        report.sqlstate = "08006";
    return report;
}

CreateSlotOptions read_options(const protocol::CreateReplicationSlot& command) {
    using Snapshot = CreateSlotOptions::Snapshot;
    const bool is_logical = !command.plugin.empty();
    CreateSlotOptions read;
    std::set<std::string_view> seen;
    for (const CommandOption& option : command.options) {
        const bool is_for_logical =
            option.name == "snapshot" || option.name == "two_phase" || option.name == "failover";
        if (!is_for_logical && option.name != "reserve_wal")
            throw ServerError(fmt::format("unrecognized option: {}", option.name), "XX000");
        if (!seen.insert(option.name).second || is_for_logical != is_logical)
            throw ServerError("conflicting or redundant options", "42601");
        if (option.name == "reserve_wal") {
            read.reserve_wal = read_boolean(option);
        } else if (option.name == "two_phase") {
            read.two_phase = read_boolean(option);
        } else if (option.name == "failover") {
            read.failover = read_boolean(option);
        } else {
            const std::string action = option.value.value_or("");
            if (action != "export" && action != "nothing" && action != "use")
                throw ServerError(
                    fmt::format("unrecognized value for CREATE_REPLICATION_SLOT option \"snapshot\": \"{}\"",
                                action),
                    "22023");
            read.names_snapshot = true;
            read.snapshot = action == "export"    ? Snapshot::kExport
                            : action == "nothing" ? Snapshot::kNothing
                                                  : Snapshot::kUse;
        }
    }
    return read;
}

SlotChange read_options(const protocol::AlterReplicationSlot& command) {
    SlotChange change;
    for (const CommandOption& option : command.options) {
        std::optional<bool>* const changed = option.name == "failover"    ? &change.failover
                                             : option.name == "two_phase" ? &change.two_phase
                                                                          : nullptr;
        if (changed == nullptr)
            throw ServerError(fmt::format("unrecognized option: {}", option.name), "XX000");
        if (*changed) throw ServerError("conflicting or redundant options", "42601");
        *changed = read_boolean(option);
    }
    return change;
}

PgoutputOptions read_pgoutput_options(const std::vector<CommandOption>& options) {
    PgoutputOptions read;
    bool has_version = false;
    bool has_names = false;
    std::set<std::string_view> seen;
    for (const CommandOption& option : options) {
        if (!seen.insert(option.name).second) throw ServerError("conflicting or redundant options", "42601");
        if (option.name == "proto_version") {
            check_protocol_version(option);
            has_version = true;
        } else if (option.name == "publication_names") {
            read.publications = split_identifiers(option.value.value_or(""));
            has_names = true;
        } else if (option.name == "messages") {
            read.messages = read_boolean(option);
        } else if (option.name == "origin") {
            const std::string origin = lower(option.value.value_or(""));
            if (origin != "any" && origin != "none")
                throw ServerError(fmt::format("unrecognized origin value: \"{}\"", origin), "22023");
            read.only_local = origin == "none";
        } else if (option.name == "two_phase") {
            if (read_boolean(option))
                throw ServerError("two-phase commit is not supported by this relay", "0A000",
                                  "create the subscription WITH (two_phase = false)");
        } else if (option.name == "binary" || option.name == "streaming") {
            // Those two are offers: whole transactions and text are always taken.
            if (option.name == "binary" || lower(option.value.value_or("")) != "parallel")
                read_boolean(option);
        } else {
            throw ServerError(fmt::format("unrecognized pgoutput option: {}", option.name), "XX000");
        }
    }
    if (!has_version) throw ServerError("proto_version option missing", "22023");
    if (!has_names) throw ServerError("publication_names option missing", "22023");
    return read;
}

}  // namespace pgcascade::relay
