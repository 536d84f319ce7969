#include <fmt/format.h>

#include "protocol/replication_command.hpp"
#include "tree/doctor_checks.hpp"

namespace pgcascade::tree {

using protocol::quote_identifier;

namespace {

bool contains(std::string_view text, std::string_view part) {
    return text.find(part) != std::string_view::npos;
}

// The line that would let us in, for pg_hba.conf.
std::string hba_line(const Patient& server, const char* database) {
    const std::string line =
        server.client_address.empty()
            ? fmt::format("local  {}  {}  scram-sha-256", database, quote_identifier(server.role))
            : fmt::format("host  {}  {}  {}/{}  scram-sha-256", database, quote_identifier(server.role),
                          server.client_address, contains(server.client_address, ":") ? 128 : 32);
    const std::string& file = server.state->hba_file;
    return fmt::format("add to {}, before any line that rejects: {}   then: SELECT pg_reload_conf();",
                       file.empty() ? "its pg_hba.conf" : file, line);
}

}  // namespace

void check_reachable(const Patient& server, const Survey& /*survey*/, Findings& findings) {
    const std::string& what = server.unreachable.what;
    if (contains(what, "Hot standby mode is disabled")) {
        findings.problem("hot_standby", server,
                         {"hot_standby is off: the standby replays, and takes no connections",
                          "nobody can read it, look at it, or make a slot and decode there",
                          "in its postgresql.conf set hot_standby = on, then restart it"});
        return;
    }
    findings.problem(
        "unreachable", server,
        {"can't be looked at: " + what, "whatever else is wrong there is not in this list",
         server.unreachable.hint.empty() ? "see to the server and its log" : server.unreachable.hint});
}

void check_replication_right(const Patient& server, const Survey& /*survey*/, Findings& findings) {
    // Roles come with the WAL: only the primary can change them, and one finding is enough.
    if (server.state->in_recovery && server.upstream) return;
    const std::string role = quote_identifier(server.replication_role);
    const auto& rights = server.state->replication_role;
    if (!rights) {
        findings.problem("replication_role", server,
                         {fmt::format("there is no role {}, as which standbys log in", role),
                          "no standby can stream from any server of the tree",
                          fmt::format("CREATE ROLE {} LOGIN REPLICATION; \\password {}", role, role)});
        return;
    }
    if (!rights->can_login)
        findings.problem(
            "replication_role", server,
            {fmt::format("the role {} may not log in", role), "a replication connection begins with a login",
             fmt::format("on the primary: ALTER ROLE {} LOGIN;", role)});
    if (!rights->can_replicate)
        findings.problem("replication_role", server,
                         {fmt::format("the role {} has no right to replicate", role),
                          "it can neither make a slot nor START_REPLICATION",
                          fmt::format("on the primary: ALTER ROLE {} REPLICATION;", role)});
}

void check_replication_login(const Patient& server, const Survey& /*survey*/, Findings& findings) {
    const auto report = [&](const std::optional<Problem>& refused, const char* kind, const char* why,
                            const char* database) {
        if (!refused) return;
        // Two refusals have a finding of their own that names the cause.
        if (contains(refused->what, "replication role") || contains(refused->what, "start WAL sender") ||
            contains(refused->what, "number of requested standby connections"))
            return;
        const bool no_line = contains(refused->what, "pg_hba.conf");
        findings.problem("replication_login", server,
                         {fmt::format("{} connection is refused: {}", kind, refused->what), why,
                          no_line || refused->hint.empty() ? hba_line(server, database) : refused->hint});
    };
    report(server.database_replication_refused, "a logical replication (replication=database)",
           "START_REPLICATION … LOGICAL needs it", "all");
    // "all" in the column of databases does not mean physical replication, which surprises many.
    report(server.physical_replication_refused, "a physical replication (replication=true)",
           "no standby can be fed from here by this role; \"all\" in pg_hba.conf does not cover it",
           "replication");
}

void check_snapshot_right(const Patient& server, const Survey& survey, Findings& findings) {
    if (!can_have_logical_slots(server)) return;
    const Patient* primary = survey.primary_of(server);
    if (primary == nullptr || primary->may_log_snapshots) return;
    findings.problem(
        "snapshot_right", server,
        {fmt::format("the role {} may not call pg_log_standby_snapshot() on the primary, {}",
                     quote_identifier(primary->role), primary->name),
         "making a logical slot here hangs for as long as the primary is idle: it waits for that record",
         fmt::format("on the primary: GRANT EXECUTE ON FUNCTION pg_log_standby_snapshot() TO {};",
                     quote_identifier(primary->role))});
}

}  // namespace pgcascade::tree
