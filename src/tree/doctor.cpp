#include "tree/doctor.hpp"

#include <charconv>

#include <fmt/format.h>

#include "tree/doctor_checks.hpp"

namespace pgcascade::tree {

namespace {

// In the order of the recipe: get in, may, can, streams, decodes; then what breaks later.
constexpr Check* kChecks[] = {
    check_version,
    check_replication_right,
    check_replication_login,
    check_wal_level,
    check_free_slots,
    check_free_wal_senders,
    check_upstream_is_known,
    check_streaming,
    check_replay,
    check_slot_on_upstream,
    check_feedback,
    check_snapshot_right,
    check_capacity_settings,
    check_slot_synchronization,
    check_synchronized_standby_slots,
    check_publications,
    check_replica_identity,
    check_invalidated_slots,
    check_slots_near_limit,
    check_idle_slots,
    check_idle_slot_timeout,
    check_timeouts,
    check_durability,
    check_restore_from_archive,
};

constexpr Check* kRelayChecks[] = {check_upstream_is_known, check_relay_receives, check_relay_slots,
                                   check_relay_log};

}  // namespace

std::vector<Finding> diagnose(const Survey& survey) {
    Findings findings;
    for (const Patient& server : survey.servers) {
        if (!server.state) {
            check_reachable(server, survey, findings);
            continue;
        }
        if (server.state->relay)
            for (Check* check : kRelayChecks) check(server, survey, findings);
        else
            for (Check* check : kChecks) check(server, survey, findings);
    }
    return findings.take();
}

void Findings::problem(std::string_view check, const Patient& server, Words words) {
    found_.push_back({Finding::Severity::kProblem, std::string{check}, server.name, std::move(words.what),
                      std::move(words.why), std::move(words.mend)});
}

void Findings::advice(std::string_view check, const Patient& server, Words words) {
    found_.push_back({Finding::Severity::kAdvice, std::string{check}, server.name, std::move(words.what),
                      std::move(words.why), std::move(words.mend)});
}

bool can_have_logical_slots(const Patient& server) {
    return server.state->in_recovery && server.state->version >= 160000;
}

std::string setting(const Patient& server, const std::string& name) {
    const Setting* found = server.state->find_setting(name);
    return found != nullptr ? found->value : "";
}

std::optional<long long> number(const Patient& server, const std::string& name) {
    const std::string text = setting(server, name);
    long long value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    return value;
}

std::string set_and_reload(const std::string& name, const std::string& value) {
    return fmt::format("ALTER SYSTEM SET {} = {}; SELECT pg_reload_conf();", name, value);
}

std::string set_and_restart(const Patient& server, const std::string& name, const std::string& value) {
    const Setting* found = server.state->find_setting(name);
    const std::string& directory = server.state->data_directory;
    const std::string restart =
        directory.empty() ? "restart the server" : fmt::format("pg_ctl restart -D '{}'", directory);
    if (found != nullptr && found->pending_restart)
        return restart + " (its files hold another value already, which waits for that)";
    return fmt::format("ALTER SYSTEM SET {} = {}; then: {}", name, value, restart);
}

}  // namespace pgcascade::tree
