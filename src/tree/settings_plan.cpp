#include "tree/settings_plan.hpp"

#include <algorithm>
#include <map>
#include <set>

#include <fmt/format.h>

#include "tree/setting_value.hpp"

namespace pgcascade::tree {

namespace {

// Beyond the downstreams: clones, and the streams that people attach.
constexpr int kSpare = 4;
// When it is too little, more is asked for at once: each time is a restart.
constexpr int kMoreSpare = 4;

// PostgreSQL's own, 15 to 18.
const std::map<std::string, std::string>& server_defaults() {
    static const std::map<std::string, std::string> kDefaults = {{"hot_standby", "on"},
                                                                 {"hot_standby_feedback", "off"},
                                                                 {"max_connections", "100"},
                                                                 {"max_locks_per_transaction", "64"},
                                                                 {"max_prepared_transactions", "0"},
                                                                 {"max_replication_slots", "10"},
                                                                 {"max_wal_senders", "10"},
                                                                 {"max_worker_processes", "8"},
                                                                 {"wal_level", "replica"}};
    return kDefaults;
}

bool is_bound_to_primary(const std::string& name) {
    const auto& names = settings_bound_to_primary();
    return std::find(names.begin(), names.end(), name) != names.end();
}

std::optional<double> number(const std::optional<std::string>& value) {
    return value ? parse_number(*value, "") : std::nullopt;
}

std::string whole(double value) {
    return fmt::format("{:.0f}", value);
}

// A value that goes for this session only (ALTER ROLE … SET, ALTER DATABASE … SET) says nothing of others.
bool is_own_to_session(const Setting& setting) {
    for (const char* source : {"database", "user", "database user", "client", "session"})
        if (setting.source == source) return true;
    return false;
}

bool goes_before_files(const Setting& setting) {
    return setting.source == "command line" || setting.source == "environment variable" ||
           setting.source == "override";
}

std::string value_of(const Setting& setting) {
    return is_own_to_session(setting) ? setting.in_files.value_or(setting.value) : setting.value;
}

}  // namespace

const std::vector<std::string>& settings_bound_to_primary() {
    static const std::vector<std::string> kNames = {"max_connections", "max_worker_processes",
                                                    "max_wal_senders", "max_prepared_transactions",
                                                    "max_locks_per_transaction"};
    return kNames;
}

bool SettingsPlan::exists(const Node& node) const {
    const NodeObservation& seen = observation_.node(node.name);
    return seen.server || seen.host.directory.state == postgres::DataDirectory::State::kCluster;
}

// Debian keeps postgresql.conf elsewhere: a clone does not bring it along.
bool SettingsPlan::inherits_files(const Node& node) const {
    const auto& source = observation_.node(cascade_.server_above(node).name).server;
    return !source || source->config_file.empty() || source->config_file.starts_with(source->data_directory);
}

std::optional<std::string> SettingsPlan::now(const Node& node, const std::string& name) const {
    const NodeObservation& seen = observation_.node(node.name);
    if (seen.server) {
        const Setting* setting = seen.server->find_setting(name);
        return setting != nullptr ? std::optional{value_of(*setting)} : std::nullopt;
    }
    const auto configured = seen.host.configured.find(name);
    return configured != seen.host.configured.end() ? std::optional{configured->second} : std::nullopt;
}

std::optional<std::string> SettingsPlan::before(const Node& node, const std::string& name) const {
    const bool is_fresh = is_fresh_clone(observation_.node(node.name).host);
    if (exists(node) && !is_fresh) return now(node, name);
    const auto removed = not_inherited(node);
    if (std::find(removed.begin(), removed.end(), name) == removed.end()) {
        if (is_fresh) return now(node, name);
        if (node.upstream && inherits_files(node)) return after(cascade_.server_above(node), name);
    }
    const auto found = server_defaults().find(name);
    return found != server_defaults().end() ? std::optional{found->second} : std::nullopt;
}

std::optional<std::string> SettingsPlan::after(const Node& node, const std::string& name) const {
    if (const auto own = node.settings.find(name); own != node.settings.end()) return own->second;
    const auto old_value = before(node, name);
    for (const Demand& demand : demands(node)) {
        if (demand.name != name) continue;
        if (!demand.is_minimum) return demand.value;
        const auto old_number = number(old_value);
        if (!old_number || *old_number < number(demand.value)) return demand.value;
    }
    return old_value;
}

// How many walsenders, or slots, the node needs for itself.
std::optional<double> SettingsPlan::capacity(const Node& node, const std::string& name) const {
    if (name != "max_wal_senders" && name != "max_replication_slots") return std::nullopt;
    std::set<std::string> slots;
    for (const Node* child : cascade_.downstreams(node.name))
        for (const std::string& slot : child->slots()) slots.insert(slot);
    double needed = static_cast<double>(slots.size());
    double spare = kSpare;
    const auto& server = observation_.node(node.name).server;
    if (name == "max_replication_slots" && server) {
        const auto is_foreign = [&](const postgres::Slot& slot) { return !slots.contains(slot.name); };
        const auto foreign = std::count_if(server->slots.begin(), server->slots.end(), is_foreign);
        spare = std::max(spare, static_cast<double>(foreign));
    }
    needed += spare;
    const auto has = number(before(node, name));
    return has && *has < needed ? needed + kMoreSpare : needed;
}

// At least what it needs for itself, and a standby at least what its primary will have.
std::optional<SettingsPlan::Demand> SettingsPlan::minimum(const Node& node, const std::string& name) const {
    std::optional<double> least = capacity(node, name);
    if (node.upstream && is_bound_to_primary(name)) {
        const auto of_primary = number(after(cascade_.primary(), name));
        if (of_primary) least = std::max(least.value_or(0), *of_primary);
    }
    if (!least) return std::nullopt;
    return Demand{name, whole(*least), true};
}

std::vector<SettingsPlan::Demand> SettingsPlan::demands(const Node& node) const {
    std::vector<Demand> wanted;
    for (const auto& [name, value] : node.settings) wanted.push_back({name, value, false});
    const auto add = [&](const std::string& name, const std::string& value) {
        if (!node.settings.contains(name)) wanted.push_back({name, value, false});
    };
    add("wal_level", "logical");
    // A server that answers does so where the file says, whatever its own port is behind a forwarding.
    if (exists(node) && !observation_.node(node.name).server)
        wanted.push_back({"port", std::to_string(node.port), false});
    if (node.upstream) add("hot_standby", "on");
    if (node.upstream) add("hot_standby_feedback", "on");
    std::vector<std::string> with_minimum = settings_bound_to_primary();
    with_minimum.emplace_back("max_replication_slots");
    for (const std::string& name : with_minimum) {
        if (node.settings.contains(name)) continue;
        if (auto least = minimum(node, name)) wanted.push_back(std::move(*least));
    }
    return wanted;
}

// Type and unit, as any server that answers knows them.
Setting SettingsPlan::kind_of(const std::string& name) const {
    for (const auto& [node, seen] : observation_.nodes)
        if (seen.server)
            if (const Setting* setting = seen.server->find_setting(name)) return *setting;
    Setting guess;
    guess.type = server_defaults().contains(name) ? "enum" : "string";
    return guess;
}

std::vector<SettingChange> SettingsPlan::changes(const Node& node, std::vector<Problem>& problems) const {
    check_above_primary(node, problems);
    std::vector<SettingChange> changes;
    for (const Demand& demand : demands(node))
        if (auto one = change(node, demand, problems)) changes.push_back(std::move(*one));
    return changes;
}

void SettingsPlan::check_above_primary(const Node& node, std::vector<Problem>& problems) const {
    if (!node.upstream) return;
    if (const auto own = node.settings.find("hot_standby"); own != node.settings.end()) {
        Setting flag;
        flag.type = "bool";
        if (!same_value(own->second, "on", flag))
            problems.push_back({fmt::format("{}: hot_standby = {} in the file: a standby that takes no "
                                            "connections can't be watched or changed",
                                            node.name, own->second),
                                "take it out of the file"});
    }
    for (const std::string& name : settings_bound_to_primary()) {
        const auto own = node.settings.find(name);
        if (own == node.settings.end()) continue;
        const auto here = number(own->second);
        const auto there = number(after(cascade_.primary(), name));
        if (here && there && *here < *there)
            problems.push_back(
                {fmt::format("{}: {} = {} is below the primary's {}: the standby would stop replaying",
                             node.name, name, own->second, whole(*there)),
                 fmt::format("give it at least {}, or lower it for {} too", whole(*there),
                             cascade_.primary().name)});
    }
}

std::optional<SettingChange> SettingsPlan::change(const Node& node, const Demand& demand,
                                                  std::vector<Problem>& problems) const {
    if (observation_.node(node.name).server) return change_of_running(node, demand, problems);
    const auto value = now(node, demand.name);
    // Nobody knows the minimum to be missed: it is left alone.
    if (!value && demand.is_minimum) return std::nullopt;
    if (demand.is_minimum && number(value) >= number(demand.value)) return std::nullopt;
    if (!demand.is_minimum && value && is_met_by_files(node, demand, *value)) return std::nullopt;
    const bool is_lowered = is_bound_to_primary(demand.name) && number(demand.value) < number(value);
    return SettingChange{demand.name, demand.value, false, is_lowered};
}

// By the server's own program; of an extension's setting, only a server that has loaded it knows the unit.
bool SettingsPlan::is_met_by_files(const Node& node, const Demand& demand, const std::string& value) const {
    const auto& wanted = observation_.node(node.name).host.wanted;
    const auto same = wanted.find(demand.name);
    const Setting kind = kind_of(demand.name);
    return same_value(value, demand.value, kind) ||
           (same != wanted.end() && same_value(value, same->second, kind));
}

std::optional<SettingChange> SettingsPlan::change_of_running(const Node& node, const Demand& demand,
                                                             std::vector<Problem>& problems) const {
    const ServerState& server = *observation_.node(node.name).server;
    const Setting* setting = server.find_setting(demand.name);
    if (setting == nullptr) {
        // An extension's, which is not loaded; the server takes it for what it will be.
        if (demand.name.find('.') != std::string::npos) return SettingChange{demand.name, demand.value};
        problems.push_back({fmt::format("{}: PostgreSQL {} has no setting \"{}\"", node.name,
                                        server.version_name, demand.name),
                            "mend its name in the file; SHOW ALL lists those that there are"});
        return std::nullopt;
    }
    const auto is_met_by = [&](const std::string& value) {
        return demand.is_minimum
                   ? parse_number(value, setting->unit) >= parse_number(demand.value, setting->unit)
                   : same_value(value, demand.value, *setting);
    };
    const bool is_met_now = is_met_by(value_of(*setting));
    // What the files say counts from the next start on.
    const bool is_met_then =
        goes_before_files(*setting) || !setting->in_files || is_met_by(*setting->in_files);
    if (is_met_now && is_met_then) return std::nullopt;
    if (goes_before_files(*setting) || setting->context == "internal") {
        problems.push_back({fmt::format("{}: {} is {}, not {}, and the server's {} says so", node.name,
                                        demand.name, setting->value, demand.value,
                                        setting->context == "internal" ? "build or initdb" : setting->source),
                            setting->context == "internal"
                                ? "take it out of the file"
                                : "take it out there and restart the server, or out of the file"});
        return std::nullopt;
    }
    const bool is_lowered = is_bound_to_primary(demand.name) && !demand.is_minimum &&
                            number(demand.value) < number(setting->value);
    return SettingChange{demand.name, demand.value, !is_met_now && setting->context == "postmaster",
                         is_lowered};
}

postgres::Settings SettingsPlan::of_new(const Node& node) const {
    postgres::Settings settings;
    for (const Demand& demand : demands(node)) {
        const auto value = before(node, demand.name);
        const bool is_met =
            demand.is_minimum ? value && number(value) >= number(demand.value) : value == demand.value;
        if (!is_met) settings[demand.name] = demand.value;
    }
    settings["port"] = std::to_string(node.port);
    settings.emplace("cluster_name", node.name);
    if (node.host.starts_with('/'))
        settings.emplace("unix_socket_directories", node.host);
    else
        settings.emplace("listen_addresses", node.host);
    return settings;
}

std::vector<std::string> SettingsPlan::not_inherited(const Node& node) const {
    std::vector<std::string> names;
    if (!node.upstream || !inherits_files(node)) return names;
    for (const auto& [name, value] : cascade_.server_above(node).settings)
        if (!node.settings.contains(name)) names.push_back(name);
    return names;
}

bool SettingsPlan::must_precede_primary(const Node& node) const {
    for (const std::string& name : settings_bound_to_primary()) {
        const auto here = number(now(node, name));
        const auto there = number(after(cascade_.primary(), name));
        if (here && there && *here < *there) return true;
    }
    return false;
}

}  // namespace pgcascade::tree
