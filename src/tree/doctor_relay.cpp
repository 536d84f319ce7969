#include <fmt/format.h>

#include "base/quantity.hpp"
#include "tree/doctor_checks.hpp"

namespace pgcascade::tree {

namespace {

// What the relay fetches, as it tells of it.
struct Fetched {
    std::string name;
    std::string slot;
    std::string problem;
    std::int64_t log_bytes;
    std::optional<postgres::RelaySender> sender;
};

std::vector<Fetched> all_fetched(const RelayState& relay) {
    std::vector<Fetched> all;
    if (relay.wal)
        all.push_back(
            {"the WAL", relay.wal->slot, relay.wal->problem, relay.wal->log_bytes, relay.wal->sender});
    for (const postgres::RelayFeed& feed : relay.feeds)
        all.push_back({"feed " + feed.name, feed.slot, feed.problem, feed.log_bytes, feed.sender});
    return all;
}

}  // namespace

void check_relay_receives(const Patient& server, const Survey& survey, Findings& findings) {
    for (const Fetched& one : all_fetched(*server.state->relay)) {
        // What comes from another server than the rest is known from the relay alone.
        const bool is_elsewhere = one.sender && one.sender != server.state->relay->sender();
        const Patient* upstream = is_elsewhere ? nullptr : survey.upstream_of(server);
        const postgres::Slot* slot = upstream != nullptr ? upstream->state->find_slot(one.slot) : nullptr;
        std::string why_not = one.problem;
        if (why_not.empty() && upstream != nullptr && slot == nullptr)
            why_not = fmt::format("{} has no slot {}", upstream->name, one.slot);
        if (why_not.empty() && slot != nullptr && !slot->active)
            why_not = fmt::format("it does not use its slot {} on {}", one.slot, upstream->name);
        if (why_not.empty()) continue;
        findings.problem("relay_receives", server,
                         {fmt::format("{} is not received: {}", one.name, why_not),
                          "who is fed by it falls behind, and its slot keeps WAL on the upstream meanwhile",
                          "mend that; the relay tries again by itself, and its log has the whole story"});
    }
}

void check_relay_slots(const Patient& server, const Survey& /*survey*/, Findings& findings) {
    for (const postgres::Slot& slot : server.state->slots) {
        if (!slot.is_invalidated()) continue;
        findings.problem(
            "invalidated_slot", server,
            {fmt::format("slot {} is invalidated: {}", slot.name, slot.invalidation_reason),
             slot.is_logical() ? "it can never be read again: its subscriber has lost changes"
                               : "its standby can't go on from here",
             slot.is_logical()
                 ? fmt::format(
                       "DROP SUBSCRIPTION there, or: pgcascade slot drop CONNINFO {}; then subscribe anew, "
                       "with a copy of the tables",
                       slot.name)
                 : fmt::format(
                       "stop the standby, empty its data directory and run pgcascade apply: it is cloned "
                       "anew; for one of no tree: pgcascade slot drop CONNINFO {}",
                       slot.name)});
    }
}

void check_relay_log(const Patient& server, const Survey& /*survey*/, Findings& findings) {
    if (!server.max_log_bytes) return;
    for (const Fetched& one : all_fetched(*server.state->relay)) {
        if (one.log_bytes <= *server.max_log_bytes) continue;
        findings.problem(
            "relay_log", server,
            {fmt::format("the log of {} takes {}, and max_bytes is {}", one.name, format_bytes(one.log_bytes),
                         format_bytes(*server.max_log_bytes)),
             "the slot that lags most is given up, or nothing is received any more (when_full)",
             "let that slot's consumer catch up (pgcascade status shows it), or raise max_bytes"});
    }
}

}  // namespace pgcascade::tree
