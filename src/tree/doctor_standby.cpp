#include <array>

#include <fmt/format.h>

#include "postgres/conninfo.hpp"
#include "tree/doctor_checks.hpp"

namespace pgcascade::tree {

namespace {

// "on eu" where the upstream is known.
std::string on_upstream(const Patient& server, const Survey& survey) {
    const Patient* upstream = survey.upstream_of(server);
    return upstream != nullptr ? "on " + upstream->name : "on its upstream";
}

// A relay takes no SQL.
std::string create_slot(const Patient* upstream, const std::string& slot) {
    if (upstream != nullptr && upstream->state->relay)
        return fmt::format("pgcascade slot create --physical 'host=… port=…' {};", slot);
    return fmt::format("SELECT pg_create_physical_replication_slot('{}', true);", slot);
}

bool has_receiver(const Patient& server) {
    if (server.state->relay) return server.state->relay->sender().has_value();
    // A role without pg_read_all_stats sees a row without a status.
    const auto& receiver = server.state->receiver;
    return receiver && (receiver->status.empty() || receiver->status == "streaming");
}

bool is_on(const Patient& server, const std::string& name) {
    return setting(server, name) == "on";
}

}  // namespace

void check_upstream_is_known(const Patient& server, const Survey& /*survey*/, Findings& findings) {
    if (!server.unknown_upstream || !has_receiver(server)) return;
    const char* where = server.state->relay ? "on a standby of it" : "here";
    findings.problem(
        "upstream", server,
        {"the server that feeds it can't be looked at: " + server.unknown_upstream->what,
         fmt::format("the primary was not examined; and making a logical slot {} hangs while the primary is "
                     "idle, because nobody asks it for a snapshot record",
                     where),
         server.unknown_upstream->hint.empty() ? "let this role in there too"
                                               : server.unknown_upstream->hint});
}

void check_streaming(const Patient& server, const Survey& survey, Findings& findings) {
    if (!server.state->in_recovery || has_receiver(server)) return;
    const std::string why = "it falls behind, and what is decoded here stands still";
    const Setting* conninfo = server.state->find_setting("primary_conninfo");
    if (conninfo != nullptr && conninfo->value.empty()) {
        findings.problem(
            "streaming", server,
            {"it streams from nobody: primary_conninfo is empty", why,
             "ALTER SYSTEM SET primary_conninfo = 'host=… port=… user=…'; SELECT pg_reload_conf();"});
        return;
    }
    const std::string slot = setting(server, "primary_slot_name");
    const Patient* upstream = survey.upstream_of(server);
    if (upstream != nullptr && !slot.empty() && upstream->state->find_slot(slot) == nullptr) {
        findings.problem(
            "streaming", server,
            {fmt::format("it streams from nobody: {} has no slot \"{}\", which primary_slot_name names",
                         upstream->name, slot),
             why, fmt::format("on {}: {}", upstream->name, create_slot(upstream, slot))});
        return;
    }
    std::string what = "it streams from nobody now";
    if (server.upstream_refuses)
        what += ": " + server.upstream_refuses->what;
    else if (const auto wanted = server.primary_conninfo())
        what += " (primary_conninfo: " + wanted->redacted() + ")";
    else if (conninfo != nullptr)
        what += ": primary_conninfo is no connection string";
    findings.problem("streaming", server,
                     {what, why,
                      server.upstream_refuses && !server.upstream_refuses->hint.empty()
                          ? server.upstream_refuses->hint
                          : "its log says why: look for walreceiver, and mend primary_conninfo, the role's "
                            "password or the upstream's pg_hba.conf"});
}

void check_replay(const Patient& server, const Survey& /*survey*/, Findings& findings) {
    if (!server.replay_is_paused) return;
    findings.problem("replay", server,
                     {"replay is paused",
                      "it receives WAL and shows none of it: reads are stale, and decoding "
                      "here stands still",
                      "SELECT pg_wal_replay_resume();"});
}

void check_slot_on_upstream(const Patient& server, const Survey& survey, Findings& findings) {
    if (!server.state->in_recovery || !setting(server, "primary_slot_name").empty()) return;
    findings.problem(
        "primary_slot_name", server,
        {"it has no physical slot on its upstream (primary_slot_name is empty)",
         "while it is away the upstream removes WAL that it still needs, and catalog rows that its logical "
         "slots need",
         fmt::format("{}: {} here: {}", on_upstream(server, survey),
                     create_slot(survey.upstream_of(server), server.slot_on_upstream),
                     set_and_reload("primary_slot_name", "'" + server.slot_on_upstream + "'"))});
}

void check_feedback(const Patient& server, const Survey& /*survey*/, Findings& findings) {
    if (!can_have_logical_slots(server) || is_on(server, "hot_standby_feedback")) return;
    std::size_t logical = 0;
    for (const postgres::Slot& slot : server.state->slots) logical += slot.is_logical() ? 1 : 0;
    const std::string slots = logical == 0 ? "a logical slot here, or on a standby below,"
                                           : fmt::format("each of the {} logical slots here", logical);
    findings.problem(
        "hot_standby_feedback", server,
        {"hot_standby_feedback is off",
         fmt::format("{} is invalidated for good (rows_removed) as soon as VACUUM on the primary "
                     "removes catalog rows that it needs",
                     slots),
         set_and_reload("hot_standby_feedback", "on")});
}

// A standby refuses to start, or pauses replay, when it has less room than its primary had (the manual, "Hot
// Standby: Administrator's Overview").
void check_capacity_settings(const Patient& server, const Survey& survey, Findings& findings) {
    static constexpr std::array kNames{"max_connections", "max_worker_processes", "max_wal_senders",
                                       "max_prepared_transactions", "max_locks_per_transaction"};
    const Patient* primary = server.state->in_recovery ? survey.primary_of(server) : nullptr;
    if (primary == nullptr) return;
    for (const char* name : kNames) {
        const auto here = number(server, name);
        const auto there = number(*primary, name);
        if (!here || !there || *here >= *there) continue;
        findings.problem(
            "capacity", server,
            {fmt::format("{} is {}, and {} on the primary", name, *here, *there),
             "the standby stops replaying as soon as it learns of the primary's value, and does not "
             "start again",
             set_and_restart(server, name, std::to_string(*there))});
    }
}

void check_slot_synchronization(const Patient& server, const Survey& survey, Findings& findings) {
    if (!server.state->in_recovery || !is_on(server, "sync_replication_slots")) return;
    const Patient* upstream = survey.upstream_of(server);
    if (upstream != nullptr && upstream->state->in_recovery) {
        findings.problem(
            "sync_replication_slots", server,
            {"sync_replication_slots is on, and its upstream is a standby",
             "it works below the primary only: \"cannot synchronize replication slots from a standby "
             "server\"",
             set_and_reload("sync_replication_slots", "off")});
        return;
    }
    const auto conninfo = server.primary_conninfo();
    if (!conninfo || conninfo->get("dbname")) return;
    findings.problem(
        "sync_replication_slots", server,
        {"sync_replication_slots is on, and primary_conninfo names no dbname",
         "no slot is synchronized: it reads the primary's slots over an ordinary connection",
         "add dbname=postgres to primary_conninfo (ALTER SYSTEM SET primary_conninfo = …; SELECT "
         "pg_reload_conf();)"});
}

// "requested starting point … is ahead of the WAL flush position of this server": a standby that has replayed
// WAL from an archive asks a standby that has not got so far by itself.
void check_restore_from_archive(const Patient& server, const Survey& survey, Findings& findings) {
    struct FixedIn {
        int major_version;
        int version;
        const char* name;
    };
    static constexpr std::array kFixedIn{FixedIn{15, 150019, "15.19"}, FixedIn{16, 160015, "16.15"},
                                         FixedIn{17, 170011, "17.11"}, FixedIn{18, 180006, "18.6"}};
    const int version = server.state->version;
    for (const FixedIn& fixed : kFixedIn) {
        if (version / 10000 != fixed.major_version || version >= fixed.version) continue;
        const Patient* upstream = survey.upstream_of(server);
        const bool below_standby = upstream != nullptr && upstream->state->in_recovery;
        const bool can_fail = below_standby && !setting(server, "restore_command").empty();
        const Findings::Words words{
            fmt::format("PostgreSQL {} is older than {}", server.version(), fixed.name),
            can_fail ? "a standby below a standby that has restored WAL from its archive can fail to stream "
                       "again: \"requested starting point is ahead of the WAL flush position\""
                     : "a standby below a standby can fail to stream again after it has restored WAL from an "
                       "archive; nothing here does so now",
            fmt::format("install the packages of {} or later, then restart the server", fixed.name)};
        if (can_fail)
            findings.problem("minor_version", server, words);
        else
            findings.advice("minor_version", server, words);
    }
}

}  // namespace pgcascade::tree
