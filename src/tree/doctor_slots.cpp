#include <algorithm>

#include <fmt/format.h>

#include "base/quantity.hpp"
#include "protocol/replication_command.hpp"
#include "tree/doctor_checks.hpp"

namespace pgcascade::tree {

using protocol::quote_identifier;

namespace {

constexpr std::int64_t kMegabyte = 1024 * 1024;

std::string drop_slot(const postgres::Slot& slot) {
    return fmt::format("SELECT pg_drop_replication_slot('{}');", slot.name);
}

std::string kind(const postgres::Slot& slot) {
    return slot.is_logical() ? fmt::format("logical slot \"{}\"", slot.name)
                             : fmt::format("physical slot \"{}\"", slot.name);
}

// Nothing: no limit.
std::optional<std::int64_t> keep_limit_bytes(const Patient& server) {
    const auto megabytes = number(server, "max_slot_wal_keep_size");
    if (!megabytes || *megabytes < 0) return std::nullopt;
    return *megabytes * kMegabyte;
}

// The value of a list setting: names, separated by commas, perhaps quoted.
std::vector<std::string> names_of_list(const std::string& text) {
    std::vector<std::string> names;
    std::string name;
    for (const char byte : text + ",") {
        if (byte == ',') {
            if (!name.empty()) names.push_back(name);
            name.clear();
        } else if (byte != ' ' && byte != '"') {
            name += byte;
        }
    }
    return names;
}

}  // namespace

void check_invalidated_slots(const Patient& server, const Survey& /*survey*/, Findings& findings) {
    for (const postgres::Slot& slot : server.state->slots) {
        if (!slot.is_invalidated()) continue;
        findings.problem(
            "invalidated_slot", server,
            {fmt::format("{} is invalidated: {}", kind(slot), slot.invalidation_reason),
             slot.is_logical() ? "it can never be read again: its consumer has lost changes"
                               : "its standby can't go on from here, unless it gets the WAL from an archive",
             slot.is_logical() ? drop_slot(slot) + " then make it again and copy the tables anew"
                               : drop_slot(slot) + " then make it again, and clone the standby anew"});
    }
}

void check_idle_slots(const Patient& server, const Survey& /*survey*/, Findings& findings) {
    const auto max_wal_megabytes = number(server, "max_wal_size");
    for (const postgres::Slot& slot : server.state->slots) {
        if (slot.active || slot.is_invalidated() || !slot.retained_bytes || !max_wal_megabytes) continue;
        if (*slot.retained_bytes <= *max_wal_megabytes * kMegabyte) continue;
        const std::string since = slot.inactive_for
                                      ? "nobody has used it for " + format_duration(*slot.inactive_for)
                                      : "nobody uses it";
        findings.problem(
            "idle_slot", server,
            {fmt::format("{} holds {} of WAL, and {}", kind(slot), format_bytes(*slot.retained_bytes), since),
             fmt::format("that is more than max_wal_size ({}), and grows until the disk is full",
                         format_bytes(*max_wal_megabytes * kMegabyte)),
             "start its consumer again, or, if that is gone for good: " + drop_slot(slot)});
    }
}

void check_slots_near_limit(const Patient& server, const Survey& /*survey*/, Findings& findings) {
    const auto limit = keep_limit_bytes(server);
    for (const postgres::Slot& slot : server.state->slots) {
        if (slot.is_invalidated() || !limit || !slot.safe_wal_size) continue;
        if (*slot.safe_wal_size > *limit / 4 && slot.wal_status != "unreserved") continue;
        findings.problem(
            "slot_near_limit", server,
            {fmt::format("{} is invalidated after {} more of WAL (max_slot_wal_keep_size is {})", kind(slot),
                         format_bytes(std::max<std::int64_t>(0, *slot.safe_wal_size)), format_bytes(*limit)),
             "then it can never be used again",
             "let its consumer catch up; until then: " +
                 set_and_reload("max_slot_wal_keep_size", fmt::format("'{}MB'", *limit / kMegabyte * 4))});
    }
}

void check_synchronized_standby_slots(const Patient& server, const Survey& /*survey*/, Findings& findings) {
    if (server.state->in_recovery) return;
    for (const std::string& name : names_of_list(setting(server, "synchronized_standby_slots"))) {
        const postgres::Slot* slot = server.state->find_slot(name);
        if (slot != nullptr && !slot->is_logical() && !slot->is_invalidated()) continue;
        const char* state = slot == nullptr      ? "does not exist"
                            : slot->is_logical() ? "is logical"
                                                 : "is invalidated";
        findings.problem(
            "synchronized_standby_slots", server,
            {fmt::format("synchronized_standby_slots names the slot \"{}\", which {}", name, state),
             "every stream of a failover slot stands still: it waits for that standby to confirm",
             slot == nullptr
                 ? fmt::format("SELECT pg_create_physical_replication_slot('{}', true); or take the "
                               "name out of synchronized_standby_slots",
                               name)
                 : "take the name out of synchronized_standby_slots"});
    }
}

void check_publications(const Patient& server, const Survey& /*survey*/, Findings& findings) {
    for (const PublishedDatabase& database : server.databases) {
        if (!database.publications.empty()) continue;
        findings.problem(
            "publications", server,
            {fmt::format("database \"{}\" has no publication", database.name),
             "pgoutput sends what publications name: without one, nothing ever arrives, and no error says so",
             fmt::format("on the primary, in database {}: CREATE PUBLICATION everything FOR ALL TABLES;",
                         quote_identifier(database.name))});
    }
}

void check_replica_identity(const Patient& server, const Survey& /*survey*/, Findings& findings) {
    for (const PublishedDatabase& database : server.databases)
        for (const TableWithoutIdentity& lacking : database.without_identity)
            findings.problem(
                "replica_identity", server,
                {fmt::format(
                     "table {} of database \"{}\" is in publication \"{}\" and has no replica identity",
                     lacking.table, database.name, lacking.publication),
                 "every UPDATE and DELETE on it fails on the primary: \"does not have a replica identity and "
                 "publishes updates\"",
                 fmt::format(
                     "on the primary, in database {}: ALTER TABLE {} ADD PRIMARY KEY (…); or: ALTER TABLE "
                     "{} REPLICA IDENTITY FULL;",
                     quote_identifier(database.name), lacking.table, lacking.table)});
}

}  // namespace pgcascade::tree
