#include "tree/relay_files.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <pgcascade/error.hpp>

#include "protocol/scram.hpp"
#include "toml/toml_reader.hpp"
#include "toml/toml_text.hpp"

namespace pgcascade::tree {

namespace {

constexpr const char* kKeep = "keep";  // the one setting that is of [wal]
constexpr std::string_view kFirstWords = "# Written by pgcascade apply";

std::string first_line(const Node& relay) {
    return fmt::format("{} for node {} of its cascade file: change that one.\n\n", kFirstWords, relay.name);
}

std::string listen_address(const Node& relay) {
    if (relay.host.starts_with('/')) return relay.host;
    const bool is_ipv6 = relay.host.find(':') != std::string::npos;
    return fmt::format("{}{}{}:{}", is_ipv6 ? "[" : "", relay.host, is_ipv6 ? "]" : "", relay.port);
}

std::string upstream_keys(const postgres::Conninfo& conninfo, const std::string& slot) {
    return fmt::format("upstream = {}\nslot = {}\n", toml_text(conninfo.to_string()), toml_text(slot));
}

}  // namespace

std::string relay_file(const Cascade& cascade, const Node& relay) {
    std::string text = first_line(relay);
    text += fmt::format("[relay]\nlisten = [{}]\nport = {}\ndirectory = \".\"\nusers = {}\n",
                        toml_text(listen_address(relay)), relay.port, toml_text(kRelayUsers));
    const auto keep = relay.relay_settings.find(kKeep);
    for (const auto& [key, value] : relay.relay_settings)
        if (key != kKeep) text += fmt::format("{} = {}\n", key, value);
    if (relay.wal) text += "\n[wal]\n" + upstream_keys(cascade.upstream_conninfo(relay), relay.slot);
    if (relay.wal && keep != relay.relay_settings.end()) text += fmt::format("keep = {}\n", keep->second);
    for (const Feed& feed : relay.feeds) {
        std::vector<std::string> publications;
        for (const std::string& name : feed.publications) publications.push_back(toml_text(name));
        text += fmt::format("\n[feed.{}]\n{}publications = [{}]\n", feed.name,
                            upstream_keys(cascade.feed_conninfo(relay, feed), relay.slot_of(feed)),
                            fmt::join(publications, ", "));
    }
    return text;
}

std::vector<std::string> relay_users(const Cascade& cascade) {
    if (cascade.user == cascade.replication_user) return {cascade.user};
    return {cascade.user, cascade.replication_user};
}

// What passes through the relay runs as the replication role on the upstream, so that one may have it: it
// could as well log in there.
std::string relay_users_file(const Cascade& cascade, const Node& relay,
                             const std::map<std::string, std::string>& secrets) {
    std::string text = first_line(relay);
    for (const std::string& name : relay_users(cascade)) {
        text += fmt::format("[user.{}]\nsecret = {}\n", toml_text(name), toml_text(secrets.at(name)));
        if (relay.wal) text += "physical = true\n";
        if (name == cascade.replication_user) text += "pass_through = true\n";
        text += '\n';
    }
    return text;
}

bool is_written_by_apply(std::string_view relay_file) {
    return relay_file.starts_with(kFirstWords);
}

std::vector<std::string> slots_of_relay_file(const std::string& relay_file) {
    std::vector<std::string> slots;
    try {
        const TomlFile toml{kRelayFile, relay_file};
        const auto add = [&](const toml::table& table) {
            for (const TomlFile::Entry& entry : TomlFile::entries(table))
                if (entry.key == "slot") slots.push_back(toml.text(entry));
        };
        for (const TomlFile::Entry& entry : TomlFile::entries(toml.root())) {
            if (entry.key == "wal") add(toml.table(entry));
            if (entry.key != "feed") continue;
            for (const TomlFile::Entry& feed : TomlFile::entries(toml.table(entry))) add(toml.table(feed));
        }
    } catch (const ConfigError&) {
        slots.clear();  // somebody has changed it
    }
    return slots;
}

bool is_scram_secret(std::string_view secret) {
    return protocol::parse_scram_secret(secret).has_value();
}

}  // namespace pgcascade::tree
