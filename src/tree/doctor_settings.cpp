#include <fmt/format.h>

#include "tree/doctor_checks.hpp"

namespace pgcascade::tree {

void check_version(const Patient& server, const Survey& /*survey*/, Findings& findings) {
    const ServerState& state = *server.state;
    if (state.version < 150000) {
        findings.problem(
            "version", server,
            {fmt::format("PostgreSQL {} is older than 15, the oldest that pgcascade knows", server.version()),
             "its catalogs and its protocol lack what pgcascade asks for",
             "upgrade the cluster to PostgreSQL 16 or later (pg_upgrade)"});
        return;
    }
    if (state.in_recovery && state.version < 160000)
        findings.problem(
            "version", server,
            {fmt::format("a standby of PostgreSQL {} can't decode changes", server.version()),
             "before 16 there are no logical slots on a standby: \"logical decoding cannot be used while in "
             "recovery\"",
             "stream from the primary, or upgrade the cluster to PostgreSQL 16 or later (pg_upgrade)"});
}

void check_wal_level(const Patient& server, const Survey& /*survey*/, Findings& findings) {
    const std::string level = setting(server, "wal_level");
    const bool decodes = !server.state->in_recovery || can_have_logical_slots(server);
    if (level == "logical" || !decodes) return;
    const char* why =
        server.state->in_recovery
            ? "no logical slot can be made on it: \"logical decoding requires wal_level >= logical\""
            : "nothing can be decoded, on it or on any standby of it: the WAL lacks what decoding "
              "needs";
    findings.problem("wal_level", server,
                     {fmt::format("wal_level is {}, and decoding needs logical", level), why,
                      set_and_restart(server, "wal_level", "'logical'")});
}

void check_free_slots(const Patient& server, const Survey& /*survey*/, Findings& findings) {
    const auto most = number(server, "max_replication_slots");
    const auto used = static_cast<long long>(server.state->slots.size());
    if (!most || used < *most) return;
    findings.problem(
        "max_replication_slots", server,
        {fmt::format("all {} replication slots are taken (max_replication_slots)", *most),
         "no slot can be made, for a standby or for a stream: \"all replication slots are in use\"",
         fmt::format("drop those that nobody needs (pgcascade slot list), or {}",
                     set_and_restart(server, "max_replication_slots", std::to_string(*most + 10)))});
}

void check_free_wal_senders(const Patient& server, const Survey& /*survey*/, Findings& findings) {
    const auto most = number(server, "max_wal_senders");
    const auto used = static_cast<long long>(server.state->downstreams.size());
    if (!most || used < *most) return;
    findings.problem("max_wal_senders", server,
                     {fmt::format("all {} walsenders are taken (max_wal_senders)", *most),
                      "no other standby and no other stream can connect: \"number of requested standby "
                      "connections exceeds max_wal_senders\"",
                      set_and_restart(server, "max_wal_senders", std::to_string(*most + 10))});
}

void check_timeouts(const Patient& server, const Survey& /*survey*/, Findings& findings) {
    const auto off = [&](const char* name, const char* why, const char* good) {
        if (number(server, name) != 0) return;
        findings.problem("timeouts", server, {fmt::format("{} is 0", name), why, set_and_reload(name, good)});
    };
    off("wal_sender_timeout",
        "a downstream whose host or network dies is never noticed: its slot stays active, and nobody else "
        "can take it over",
        "'60s'");
    if (!server.state->in_recovery) return;
    off("wal_receiver_timeout",
        "an upstream whose host or network dies is never noticed: the standby waits for it for ever",
        "'60s'");
    off("wal_receiver_status_interval",
        "the standby tells its upstream nothing: its slot there holds WAL needlessly, and "
        "hot_standby_feedback "
        "is not sent",
        "'10s'");
}

void check_durability(const Patient& server, const Survey& /*survey*/, Findings& findings) {
    const auto off = [&](const char* name, const char* why) {
        if (setting(server, name) != "off") return;
        findings.problem("durability", server,
                         {fmt::format("{} is off", name), why, set_and_reload(name, "on")});
    };
    off("fsync",
        "after a crash of the machine its data may be damaged, and it may lack WAL that its standbys have "
        "already: a history that no longer fits");
    off("full_page_writes", "after a crash of the machine half-written pages can't be mended from the WAL");
}

void check_idle_slot_timeout(const Patient& server, const Survey& /*survey*/, Findings& findings) {
    const Setting* timeout = server.state->find_setting("idle_replication_slot_timeout");
    if (timeout == nullptr || timeout->value == "0") return;
    findings.problem("idle_replication_slot_timeout", server,
                     {fmt::format("idle_replication_slot_timeout is {} {}", timeout->value, timeout->unit),
                      "a standby or a consumer that is away for longer loses its slot for good, and has to "
                      "begin anew; so do "
                      "slots that are idle on purpose, kept for a node that may move here",
                      set_and_reload("idle_replication_slot_timeout", "0") +
                          " and limit by size instead: max_slot_wal_keep_size"});
}

}  // namespace pgcascade::tree
