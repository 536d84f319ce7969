#include "tree/step.hpp"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace pgcascade::tree {

namespace {

std::string listed(const postgres::Settings& settings, const std::vector<std::string>& need_restart = {}) {
    std::vector<std::string> texts;
    for (const auto& [name, value] : settings) {
        const bool waits = std::find(need_restart.begin(), need_restart.end(), name) != need_restart.end();
        texts.push_back(
            fmt::format("{} = {}{}", name, value.empty() ? "''" : value, waits ? " (needs a restart)" : ""));
    }
    return fmt::format("{}", fmt::join(texts, ", "));
}

}  // namespace

std::string WritePassfile::text() const {
    return fmt::format("generate the password{} of {} and write {} (mode 0600)", roles.size() == 1 ? "" : "s",
                       fmt::join(roles, " and "), file.string());
}

std::string CreateCluster::text() const {
    std::string line = fmt::format("{}: create a cluster in {}", node, data_directory.string());
    if (!settings.empty()) line += fmt::format(" with {}", listed(settings));
    if (!hba_lines.empty()) line += fmt::format(", and in pg_hba.conf: {}", fmt::join(hba_lines, "; "));
    return line;
}

std::string Configure::text() const {
    return fmt::format("{}: set {}", node, listed(settings));
}

std::string MakeStandby::text() const {
    std::string line = fmt::format("{}: make it a standby of {} (slot {})", node, upstream, slot);
    if (!settings.empty()) line += fmt::format(" with {}", listed(settings));
    if (!removed.empty()) line += fmt::format("; without {}'s own {}", upstream, fmt::join(removed, ", "));
    return line;
}

std::string StartServer::text() const {
    return fmt::format("{}: start", node);
}

std::string StopServer::text() const {
    return fmt::format("{}: stop ({})", node, because);
}

std::string RestartServer::text() const {
    return fmt::format("{}: restart (for {})", node, fmt::join(settings, ", "));
}

std::string WaitForServer::text() const {
    return fmt::format("{}: wait until it takes connections", node);
}

std::string SetSettings::text() const {
    return fmt::format("{}: set {}", node, listed(settings, need_restart));
}

std::string EnsureRole::text() const {
    const std::string rights = has_password ? "LOGIN REPLICATION, with the password of the passfile"
                                            : "LOGIN REPLICATION, without a password";
    switch (known) {
        case Known::kMissing:
            return fmt::format("{}: create role {} ({})", node, role, rights);
        case Known::kLacksRights:
            return fmt::format("{}: give role {} LOGIN REPLICATION", node, role);
        case Known::kUnknown:
            return fmt::format("{}: create role {} where it is missing ({})", node, role, rights);
    }
    return {};
}

std::string AllowReplication::text() const {
    return fmt::format("{}: add to pg_hba.conf{}: {}", node,
                       only_where_refused ? " (where the replication role is refused)" : "",
                       fmt::join(lines, "; "));
}

std::string CreateSlot::text() const {
    return fmt::format("{}: {} physical slot {} for {}{}", node,
                       replaces_unusable ? "replace the unusable" : "create", slot, downstream,
                       where_missing ? " where it is missing" : "");
}

std::string CreateFeedSlot::text() const {
    return fmt::format("{}: create logical slot {} in database {} for {}{}", node, slot, database, relay,
                       where_missing ? " where it is missing" : "");
}

std::string WriteRelayFiles::text() const {
    return fmt::format("{}: write {}, and the users {} beside it", node, file.string(),
                       fmt::join(users, " and "));
}

std::string WriteRelayUsers::text() const {
    return fmt::format("{}: renew the users {}", node, fmt::join(users, " and "));
}

std::string WaitReceived::text() const {
    return fmt::format("{}: wait until it has received what {} does not keep for it", node, upstream);
}

std::string WaitRelay::text() const {
    return fmt::format("{}: wait until it listens and receives from {}", node, upstream);
}

std::string CloneNodes::text() const {
    std::vector<std::string> names;
    for (const Target& target : targets)
        names.push_back(fmt::format("{} into {}", target.node, target.data_directory.string()));
    return fmt::format("{}: clone {}{}", node, fmt::join(names, ", "),
                       targets.size() > 1 ? " (from one backup stream)" : "");
}

std::string StreamFrom::text() const {
    return fmt::format("{}: stream from {} through slot {}{}", node, upstream, slot,
                       previous.empty() ? "" : " instead of from " + previous);
}

std::string WaitStreaming::text() const {
    return fmt::format("{}: wait until it streams from {} (slot {})", node, upstream, slot);
}

std::string WaitReplayed::text() const {
    return fmt::format("{}: wait until it has replayed what {} has written", node, primary);
}

std::string DropSlot::text() const {
    return fmt::format("{}: drop {} slot {}, which {} uses no longer", node,
                       is_logical ? "logical" : "physical", slot, downstream);
}

std::string text(const Step& step) {
    return std::visit([](const auto& one) { return one.text(); }, step);
}

std::string_view kind(const Step& step) {
    return std::visit([](const auto& one) { return one.kKind; }, step);
}

const std::string& node(const Step& step) {
    return std::visit([](const auto& one) -> const std::string& { return one.node; }, step);
}

bool is_disruptive(const Step& step) {
    return std::holds_alternative<RestartServer>(step) || std::holds_alternative<StopServer>(step) ||
           std::holds_alternative<DropSlot>(step);
}

}  // namespace pgcascade::tree
