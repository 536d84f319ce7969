#include <memory>

#include <fmt/format.h>
#include <rapidjson/prettywriter.h>
#include <rapidjson/stringbuffer.h>

#include "base/diagnostics.hpp"
#include "base/quantity.hpp"
#include "cli/command.hpp"
#include "cli/table.hpp"
#include "postgres/slots.hpp"

// pgcascade slot list|create|drop

namespace pgcascade::cli {

namespace {

using postgres::Conninfo;
using postgres::Slot;

struct SlotArguments {
    std::string conninfo;
    std::string name;
    bool json = false;
    bool physical = false;
    bool logical = false;
    std::string plugin = "pgoutput";
    bool if_not_exists = false;
    bool two_phase = false;
    bool failover = false;
    std::string primary;
    bool if_exists = false;
    bool wait = false;
};

Cell state_cell(const Slot& slot) {
    if (slot.is_invalidated()) return {"invalidated: " + slot.invalidation_reason, Colour::kBad};
    if (slot.active) return {fmt::format("active, pid {}", slot.active_pid), Colour::kGood};
    if (!slot.inactive_for || slot.inactive_for->count() == 0) return {"inactive", Colour::kWarning};
    return {"inactive for " + format_duration(*slot.inactive_for), Colour::kWarning};
}

std::string flags_of(const Slot& slot) {
    std::string flags;
    const auto add = [&](bool set, const char* flag) {
        if (set) flags += (flags.empty() ? "" : ", ") + std::string{flag};
    };
    add(slot.temporary, "temporary");
    add(slot.two_phase, "two-phase");
    add(slot.failover, "failover");
    add(slot.synced, "synced");
    return flags;
}

std::string lsn_text(const std::optional<Lsn>& lsn) {
    return lsn ? lsn->to_string() : "";
}

std::string slots_as_table(const std::vector<Slot>& slots) {
    Table table({{.name = "slot"},
                 {.name = "type"},
                 {.name = "plugin"},
                 {.name = "database"},
                 {.name = "state"},
                 {.name = "restart_lsn"},
                 {.name = "confirmed_flush"},
                 {.name = "retains", .right_aligned = true},
                 {.name = "wal_status"},
                 {.name = "left", .right_aligned = true},
                 {.name = "flags"}});
    for (const Slot& slot : slots) {
        const bool in_danger = slot.wal_status == "unreserved" || slot.wal_status == "lost";
        table.add_row({{slot.name},
                       {slot.is_logical() ? "logical" : "physical"},
                       {slot.plugin},
                       {slot.database},
                       state_cell(slot),
                       {lsn_text(slot.restart_lsn)},
                       {lsn_text(slot.confirmed_flush_lsn)},
                       {slot.retained_bytes ? format_bytes(*slot.retained_bytes) : ""},
                       {slot.wal_status, in_danger ? Colour::kBad : Colour::kNone},
                       {slot.safe_wal_size ? format_bytes(*slot.safe_wal_size) : ""},
                       {flags_of(slot)}});
    }
    return table.to_string(wants_colour());
}

using JsonWriter = rapidjson::PrettyWriter<rapidjson::StringBuffer>;

void write_text(JsonWriter& json, const char* key, const std::string& text) {
    json.Key(key);
    if (text.empty())
        json.Null();
    else
        json.String(text.data(), static_cast<rapidjson::SizeType>(text.size()));
}

template <class Number>
void write_number(JsonWriter& json, const char* key, const std::optional<Number>& number) {
    json.Key(key);
    if (number)
        json.Int64(static_cast<std::int64_t>(*number));
    else
        json.Null();
}

void write_flag(JsonWriter& json, const char* key, bool flag) {
    json.Key(key);
    json.Bool(flag);
}

void write_slot(JsonWriter& json, const Slot& slot) {
    json.StartObject();
    write_text(json, "slot_name", slot.name);
    write_text(json, "slot_type", slot.is_logical() ? "logical" : "physical");
    write_text(json, "plugin", slot.plugin);
    write_text(json, "database", slot.database);
    write_flag(json, "temporary", slot.temporary);
    write_flag(json, "active", slot.active);
    write_number(json, "active_pid", slot.active ? std::optional{slot.active_pid} : std::nullopt);
    write_text(json, "restart_lsn", lsn_text(slot.restart_lsn));
    write_text(json, "confirmed_flush_lsn", lsn_text(slot.confirmed_flush_lsn));
    write_text(json, "wal_status", slot.wal_status);
    write_number(json, "safe_wal_size", slot.safe_wal_size);
    write_number(json, "retained_bytes", slot.retained_bytes);
    write_flag(json, "two_phase", slot.two_phase);
    write_text(json, "invalidation_reason", slot.invalidation_reason);
    write_text(json, "inactive_since", slot.inactive_since);
    write_flag(json, "failover", slot.failover);
    write_flag(json, "synced", slot.synced);
    json.EndObject();
}

std::string slots_as_json(const std::vector<Slot>& slots) {
    rapidjson::StringBuffer buffer;
    JsonWriter json{buffer};
    json.SetIndent(' ', 2);
    json.StartArray();
    for (const Slot& slot : slots) write_slot(json, slot);
    json.EndArray();
    return std::string{buffer.GetString(), buffer.GetSize()} + "\n";
}

void list(const SlotArguments& arguments, const Invocation& invocation) {
    postgres::Connection connection{Conninfo::parse(arguments.conninfo), {.stop_fd = invocation.stop.fd()}};
    const std::vector<Slot> slots = list_slots(connection);
    if (arguments.json) {
        print(slots_as_json(slots));
        return;
    }
    if (slots.empty())
        diagnostics::info(connection.name() + " has no replication slots");
    else
        print(slots_as_table(slots));
}

void create(const SlotArguments& arguments, const Invocation& invocation) {
    const Conninfo conninfo = Conninfo::parse(arguments.conninfo);
    postgres::Connection connection{conninfo, {.stop_fd = invocation.stop.fd()}};
    bool created = false;
    if (arguments.physical) {
        created = postgres::create_physical_slot(
            connection, {.name = arguments.name, .if_not_exists = arguments.if_not_exists});
    } else {
        postgres::LogicalSlotOptions options{.name = arguments.name,
                                             .plugin = arguments.plugin,
                                             .if_not_exists = arguments.if_not_exists,
                                             .two_phase = arguments.two_phase,
                                             .failover = arguments.failover};
        if (!arguments.primary.empty()) options.primary = Conninfo::parse(arguments.primary);
        options.on_notice = [](const std::string& text) { diagnostics::warning(text); };
        created = postgres::create_logical_slot(connection, conninfo, options);
    }
    const auto slot = postgres::find_slot(connection, arguments.name);
    if (!slot)
        throw Error(fmt::format("{}: slot \"{}\" was dropped again", connection.name(), arguments.name));
    diagnostics::info(fmt::format(
        "{}: {} slot \"{}\" {}, from {} on", connection.name(), arguments.physical ? "physical" : "logical",
        arguments.name, created ? "created" : "exists already",
        lsn_text(slot->is_logical() ? slot->confirmed_flush_lsn : slot->restart_lsn)));
}

void drop(const SlotArguments& arguments, const Invocation& invocation) {
    postgres::Connection connection{Conninfo::parse(arguments.conninfo), {.stop_fd = invocation.stop.fd()}};
    const bool dropped = postgres::drop_slot(
        connection, {.name = arguments.name, .if_exists = arguments.if_exists, .wait = arguments.wait});
    diagnostics::info(fmt::format("{}: slot \"{}\" {}", connection.name(), arguments.name,
                                  dropped ? "dropped" : "is not there"));
}

void add_create(CLI::App& slot, Invocation& invocation, const std::shared_ptr<SlotArguments>& arguments) {
    CLI::App* command = slot.add_subcommand("create", "Create a logical slot (or --physical) on any server");
    command->add_option("conninfo", arguments->conninfo, "Where: libpq's connection string or URI")
        ->required();
    command->add_option("name", arguments->name, "Name of the slot")->required();
    CLI::Option* physical =
        command->add_flag("--physical", arguments->physical, "For a standby; reserves WAL at once");
    const auto logical_only = [&](CLI::Option* option) { option->excludes(physical); };
    logical_only(command->add_flag("--logical", arguments->logical,
                                   "For decoded changes of the connection's database (the default)"));
    logical_only(command->add_option("--plugin", arguments->plugin, "Output plugin")->capture_default_str());
    logical_only(command->add_flag("--two-phase", arguments->two_phase, "Decode prepared transactions too"));
    logical_only(command->add_flag("--failover", arguments->failover,
                                   "Let standbys keep a copy of it (PostgreSQL 17, on a primary)"));
    logical_only(command->add_option("--primary", arguments->primary,
                                     "On a standby: its primary, where it can't be found from there"));
    command->add_flag("--if-not-exists", arguments->if_not_exists, "Keep one that is there already");
    command->callback([arguments, &invocation] { create(*arguments, invocation); });
}

}  // namespace

void add_slot_command(CLI::App& app, Invocation& invocation) {
    CLI::App* slot = app.add_subcommand("slot", "List, create and drop the replication slots of a server");
    slot->require_subcommand(1);
    const auto arguments = std::make_shared<SlotArguments>();

    CLI::App* list_command = slot->add_subcommand("list", "Show every slot and how much WAL it retains");
    list_command->add_option("conninfo", arguments->conninfo, "Which server")->required();
    list_command->add_flag("--json", arguments->json, "As JSON, on standard output");
    list_command->callback([arguments, &invocation] { list(*arguments, invocation); });

    add_create(*slot, invocation, arguments);

    CLI::App* drop_command = slot->add_subcommand("drop", "Drop a slot, and free the WAL that it retains");
    drop_command->add_option("conninfo", arguments->conninfo, "Which server")->required();
    drop_command->add_option("name", arguments->name, "Name of the slot")->required();
    drop_command->add_flag("--if-exists", arguments->if_exists, "Accept that there is none");
    drop_command->add_flag("--wait", arguments->wait, "Until nobody uses it");
    drop_command->callback([arguments, &invocation] { drop(*arguments, invocation); });
}

}  // namespace pgcascade::cli
