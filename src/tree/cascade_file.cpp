#include "tree/cascade_file.hpp"

#include <algorithm>
#include <cctype>
#include <set>

#include <fmt/format.h>

#include <pgcascade/error.hpp>

#include "base/amount.hpp"
#include "base/quantity.hpp"
#include "toml/toml_reader.hpp"
#include "toml/toml_text.hpp"

namespace pgcascade::tree {

namespace {

using Entry = TomlFile::Entry;

constexpr std::int64_t kKeptBytes = std::int64_t{1} << 30;  // docs/relay_file.md, [wal]
constexpr std::size_t kNameBytes = 63;  // NAMEDATALEN - 1: PostgreSQL cuts longer names off

std::string lower_case(std::string text) {
    for (char& letter : text) letter = static_cast<char>(std::tolower(static_cast<unsigned char>(letter)));
    return text;
}

bool consists_of(std::string_view text, std::string_view allowed_beside_letters_and_digits) {
    return std::all_of(text.begin(), text.end(), [&](char letter) {
        return std::isalnum(static_cast<unsigned char>(letter)) != 0 ||
               allowed_beside_letters_and_digits.find(letter) != std::string_view::npos;
    });
}

// Two servers of one machine can't share a port or a directory.
std::string machine_of(const std::string& host) {
    return is_this_machine_name(host) ? "this machine" : lower_case(host);
}

// ── reading ────────────────────────────────────────────────────────────────────────────────────────────

class CascadeReader {
  public:
    explicit CascadeReader(const std::filesystem::path& file)
        : file_(std::filesystem::absolute(file).lexically_normal()), toml_(file) {}

    Cascade read() const;
    void fail(int line, const std::string& what, const std::string& hint = {}) const {
        toml_.fail(line, what, hint);
    }

  private:
    void read_cascade(const Entry& table, Cascade& cascade) const;
    postgres::Settings read_settings(const Entry& table) const;
    void refuse_own_setting(const Entry& entry) const;
    Node read_node(const Entry& table, const postgres::Settings& common) const;
    NodeKind read_kind(const toml::table& table) const;
    void read_node_key(const Entry& entry, Node& node) const;
    void read_server_key(const Entry& entry, Node& node) const;
    void read_relay_key(const Entry& entry, Node& node) const;
    Feed read_feed(const Entry& table, const Node& node) const;
    std::vector<std::string> read_publications(const Entry& entry) const;
    void read_relay_settings(const Entry& table, Node& node) const;
    std::string read_relay_setting(const Entry& entry) const;
    std::string read_slot(const Entry& entry) const;
    std::string read_host(const Entry& entry) const;
    void read_tablespaces(const Entry& table, Node& node) const;
    std::filesystem::path read_path(const Entry& entry) const {
        return absolute(std::filesystem::path{toml_.text(entry)});
    }
    std::filesystem::path absolute(const std::filesystem::path& path) const;

    std::filesystem::path file_;
    TomlFile toml_;
};

Cascade CascadeReader::read() const {
    Cascade cascade;
    cascade.file = file_;
    cascade.name = file_.stem().string();
    postgres::Settings common;
    const auto tables = toml_.entries(toml_.root(), "the file", {"cascade", "settings", "node"});
    for (const Entry& entry : tables) {
        if (entry.key == "cascade") read_cascade(entry, cascade);
        if (entry.key == "settings") common = read_settings(entry);
    }
    for (const Entry& entry : tables) {
        if (entry.key != "node") continue;
        for (const Entry& node : TomlFile::entries(toml_.table(entry)))
            cascade.nodes.push_back(read_node(node, common));
    }
    return cascade;
}

void CascadeReader::read_cascade(const Entry& table, Cascade& cascade) const {
    const auto entries = toml_.entries(toml_.table(table), "[cascade]",
                                       {"name", "user", "replication_user", "dbname", "passfile", "account"});
    for (const Entry& entry : entries) {
        if (entry.key == "name") cascade.name = toml_.text(entry);
        if (entry.key == "user") cascade.user = toml_.text(entry);
        if (entry.key == "replication_user") cascade.replication_user = toml_.text(entry);
        if (entry.key == "dbname") cascade.dbname = toml_.text(entry);
        if (entry.key == "passfile") cascade.passfile = read_path(entry);
        if (entry.key == "account") cascade.account = toml_.text(entry);
    }
}

postgres::Settings CascadeReader::read_settings(const Entry& table) const {
    postgres::Settings settings;
    for (const Entry& entry : TomlFile::entries(toml_.table(table))) {
        const std::string name = lower_case(entry.key);
        if (name.empty() || !consists_of(name, "_."))
            toml_.fail(entry.line, fmt::format("\"{}\" is no name of a PostgreSQL setting", entry.key),
                       "a setting of an extension is written in quotes: \"auto_explain.log_min_duration\"");
        refuse_own_setting(entry);
        settings[name] = toml_.scalar(entry);
    }
    return settings;
}

// What follows from other keys can't be said a second time, and differently.
void CascadeReader::refuse_own_setting(const Entry& entry) const {
    static const std::map<std::string, std::string> kInstead = {
        {"port", "write port = … in [node.NAME]"},
        {"data_directory", "write data_directory = … in [node.NAME]"},
        {"primary_conninfo", "it follows from upstream, host, port, replication_user and passfile"},
        {"primary_slot_name", "write slot = … in [node.NAME]"},
    };
    const auto own = kInstead.find(lower_case(entry.key));
    if (own != kInstead.end())
        toml_.fail(entry.line, fmt::format("the setting \"{}\" is written by pgcascade itself", own->first),
                   own->second);
}

Node CascadeReader::read_node(const Entry& table, const postgres::Settings& common) const {
    Node node;
    node.name = table.key;
    node.line = table.line;
    if (node.name.empty() || node.name.size() > kNameBytes || !consists_of(node.name, "-_."))
        toml_.fail(table.line, fmt::format("\"{}\" can't be the name of a node", node.name),
                   "letters, digits, '-', '_' and '.', at most 63 bytes");
    node.slot = lower_case(node.name);
    for (char& letter : node.slot)
        if (letter == '-' || letter == '.') letter = '_';
    const toml::table& keys = toml_.table(table);
    node.kind = read_kind(keys);
    const std::string where = "[node." + node.name + "]";
    if (node.is_relay()) {
        for (const Entry& entry : toml_.entries(
                 keys, where,
                 {"kind", "upstream", "host", "port", "data_directory", "slot", "wal", "feed", "settings"})) {
            read_node_key(entry, node);
            read_relay_key(entry, node);
        }
    } else {
        node.settings = common;
        for (const Entry& entry : toml_.entries(keys, where,
                                                {"kind", "upstream", "host", "port", "data_directory",
                                                 "create", "slot", "settings", "tablespaces"})) {
            read_node_key(entry, node);
            read_server_key(entry, node);
        }
    }
    if (node.data_directory.empty())
        toml_.fail(node.line, fmt::format("node \"{}\" has no data_directory", node.name),
                   node.is_relay()
                       ? "write data_directory = \"…\": where the relay keeps its log and its slots"
                       : "write data_directory = \"…\": where the server's files are, or shall be");
    return node;
}

NodeKind CascadeReader::read_kind(const toml::table& table) const {
    for (const Entry& entry : TomlFile::entries(table)) {
        if (entry.key != "kind") continue;
        const std::string kind = toml_.text(entry);
        if (kind == "relay") return NodeKind::kRelay;
        if (kind != "server")
            toml_.fail(entry.line, fmt::format("there is no kind \"{}\" of nodes", kind),
                       "write kind = \"relay\" or kind = \"server\", which is the default");
    }
    return NodeKind::kServer;
}

void CascadeReader::read_node_key(const Entry& entry, Node& node) const {
    if (entry.key == "upstream") node.upstream = toml_.text(entry);
    if (entry.key == "host") node.host = read_host(entry);
    if (entry.key == "port") node.port = static_cast<std::uint16_t>(toml_.integer(entry, 1, 65535));
    if (entry.key == "data_directory") node.data_directory = read_path(entry);
    if (entry.key == "slot") node.slot = read_slot(entry);
}

void CascadeReader::read_server_key(const Entry& entry, Node& node) const {
    if (entry.key == "create") node.create = toml_.boolean(entry);
    if (entry.key == "tablespaces") read_tablespaces(entry, node);
    if (entry.key != "settings") return;
    for (const auto& [name, value] : read_settings(entry)) node.settings[name] = value;
}

void CascadeReader::read_relay_key(const Entry& entry, Node& node) const {
    if (entry.key == "wal") {
        node.wal = toml_.boolean(entry);
        node.no_wal_line = node.wal ? 0 : entry.line;
    }
    if (entry.key == "settings") read_relay_settings(entry, node);
    if (entry.key != "feed") return;
    for (const Entry& feed : TomlFile::entries(toml_.table(entry)))
        node.feeds.push_back(read_feed(feed, node));
}

Feed CascadeReader::read_feed(const Entry& table, const Node& node) const {
    Feed feed{table.key, {}, {}, table.line};
    const std::string where = fmt::format("[node.{}.feed.{}]", node.name, feed.name);
    if (feed.name.empty() || feed.name != lower_case(feed.name) || !consists_of(feed.name, "_"))
        toml_.fail(feed.line, fmt::format("\"{}\" can't be the name of a feed", feed.name),
                   "lower-case letters, digits and '_'");
    for (const Entry& entry : toml_.entries(toml_.table(table), where, {"database", "publications"})) {
        if (entry.key == "database") feed.database = toml_.text(entry);
        if (entry.key == "publications") feed.publications = read_publications(entry);
    }
    if (feed.database.empty())
        toml_.fail(feed.line, where + " has no database",
                   "write database = \"…\": a feed holds the changes of one database");
    if (feed.publications.empty())
        toml_.fail(feed.line, where + " has no publications",
                   "write publications = [\"…\"]; CREATE PUBLICATION makes one on the primary");
    return feed;
}

std::vector<std::string> CascadeReader::read_publications(const Entry& entry) const {
    std::vector<std::string> publications;
    for (const Entry& item : toml_.items(entry)) {
        publications.push_back(toml_.text(item));
        if (std::count(publications.begin(), publications.end(), publications.back()) > 1)
            toml_.fail(item.line, fmt::format("publications names \"{}\" twice", publications.back()));
    }
    return publications;
}

void CascadeReader::read_relay_settings(const Entry& table, Node& node) const {
    const auto entries = toml_.entries(toml_.table(table), "[node." + node.name + ".settings]",
                                       {"tls_certificate", "tls_key", "max_bytes", "keep", "when_full",
                                        "threads", "connections", "connections_per_address_before_login",
                                        "login_timeout", "wal_sender_timeout", "wal_receiver_timeout"});
    for (const Entry& entry : entries) node.relay_settings[entry.key] = read_relay_setting(entry);
    if (node.relay_settings.contains("tls_certificate") != node.relay_settings.contains("tls_key"))
        toml_.fail(table.line, "tls_certificate and tls_key go together", "write both, or neither");
}

// As docs/relay_file.md has them: a relay that runs is restarted for them, and must come up again.
std::string CascadeReader::read_relay_setting(const Entry& entry) const {
    constexpr int kMostThreads = 1024;
    constexpr int kMostConnections = 1'000'000;
    if (entry.key == "threads") return std::to_string(toml_.integer(entry, 1, kMostThreads));
    if (entry.key.starts_with("connections"))
        return std::to_string(toml_.integer(entry, 1, kMostConnections));
    if (entry.key.starts_with("tls_")) return toml_text(read_path(entry).string());
    const std::string text = toml_.text(entry);
    if (entry.key == "when_full" && text != "invalidate" && text != "pause")
        toml_.fail(entry.line, fmt::format("when_full is \"{}\"", text), "write \"invalidate\" or \"pause\"");
    const bool is_size = entry.key == "max_bytes" || entry.key == "keep";
    const auto size = parse_bytes(text);
    if (is_size && (!size || (*size == 0 && entry.key == "max_bytes")))
        toml_.fail(entry.line, fmt::format("{} is \"{}\", which is no size", entry.key, text),
                   "write it as \"10 GB\" or \"512 MB\"; the units are B, kB, MB, GB and TB");
    if (entry.key.ends_with("_timeout") && !parse_duration(text))
        toml_.fail(entry.line, fmt::format("{} is \"{}\", which is no time", entry.key, text),
                   "write it as \"10s\" or \"1.5 min\"; the units are ms, s, min, h and d");
    return toml_text(text);
}

std::string CascadeReader::read_slot(const Entry& entry) const {
    const std::string slot = toml_.text(entry);
    if (slot != lower_case(slot) || !consists_of(slot, "_"))
        toml_.fail(entry.line, fmt::format("\"{}\" can't be the name of a replication slot", slot),
                   "a slot's name holds lower-case letters, digits and '_' only");
    if (slot.size() > kNameBytes)
        toml_.fail(entry.line, fmt::format("the slot's name is {} bytes long", slot.size()),
                   "PostgreSQL takes at most 63");
    return slot;
}

std::string CascadeReader::read_host(const Entry& entry) const {
    const std::string host = toml_.text(entry);
    if (host.find_first_of(", \t") != std::string::npos)
        toml_.fail(entry.line, fmt::format("\"{}\" is not one host", host),
                   "a name, an address, or the directory of a Unix socket; one for each node");
    return host;
}

void CascadeReader::read_tablespaces(const Entry& table, Node& node) const {
    for (const Entry& entry : TomlFile::entries(toml_.table(table))) {
        if (!entry.key.starts_with('/'))
            toml_.fail(entry.line, fmt::format("\"{}\" is not an absolute path", entry.key),
                       "write \"/where/the/upstream/has/it\" = \"/where/this/node/has/it\"");
        node.tablespaces[entry.key] = read_path(entry);
    }
}

std::filesystem::path CascadeReader::absolute(const std::filesystem::path& path) const {
    std::filesystem::path whole = (file_.parent_path() / path).lexically_normal();
    return whole.has_filename() ? whole : whole.parent_path();  // without a slash at the end
}

// ── checking what the nodes say together ───────────────────────────────────────────────────────────────

class TreeCheck {
  public:
    TreeCheck(const CascadeReader& reader, std::vector<Node> nodes)
        : reader_(reader), nodes_(std::move(nodes)) {}

    // The nodes, every upstream before its downstreams.
    std::vector<Node> run(const Cascade& cascade) {
        check_upstreams();
        check_primary(cascade);
        find_wal_relays();
        check_relays();
        check_ports();
        check_directories();
        check_slots();
        return ordered();
    }

  private:
    const Node* find(const std::string& name) const {
        const auto found =
            std::find_if(nodes_.begin(), nodes_.end(), [&](const Node& node) { return node.name == name; });
        return found == nodes_.end() ? nullptr : &*found;
    }

    void check_upstreams() const;
    void check_cycle(const Node& start) const;
    void check_primary(const Cascade& cascade) const;
    bool needs_wal(const Node& node) const { return !node.is_relay() || node.wal; }
    void find_wal_relays();
    void check_relays() const;
    void check_feeds(const Node& relay) const;
    void check_sizes(const Node& relay) const;
    void check_ports() const;
    void check_directories() const;
    void check_slots() const;
    std::vector<Node> ordered();

    const CascadeReader& reader_;
    std::vector<Node> nodes_;
};

void TreeCheck::check_upstreams() const {
    std::vector<std::string_view> names;
    for (const Node& node : nodes_) names.push_back(node.name);
    for (const Node& node : nodes_) {
        if (!node.upstream || find(*node.upstream) != nullptr) continue;
        const std::string nearest = nearest_word(*node.upstream, names);
        reader_.fail(node.line,
                     fmt::format("the upstream \"{}\" of node \"{}\" is no node of this file", *node.upstream,
                                 node.name),
                     nearest.empty() ? fmt::format("add [node.{}]", *node.upstream)
                                     : fmt::format("did you mean \"{}\"?", nearest));
    }
    for (const Node& node : nodes_) check_cycle(node);
}

void TreeCheck::check_cycle(const Node& start) const {
    std::string path = start.name;
    std::set<std::string> seen{start.name};
    for (const Node* node = &start; node->upstream;) {
        node = find(*node->upstream);
        path += " <- " + node->name;
        if (node == &start)
            reader_.fail(start.line, "the nodes feed each other in a circle: " + path,
                         "one of them must have another upstream");
        if (!seen.insert(node->name).second) return;  // a circle further up: reported for its own nodes
    }
}

void TreeCheck::check_primary(const Cascade& cascade) const {
    const Node* primary = nullptr;
    for (const Node& node : nodes_) {
        if (node.upstream) continue;
        if (node.is_relay())
            reader_.fail(
                node.line, fmt::format("relay \"{}\" has no upstream", node.name),
                fmt::format("add upstream = \"…\" to [node.{}]: a relay has nothing of its own", node.name));
        if (primary != nullptr)
            reader_.fail(node.line,
                         fmt::format("there are two primaries: \"{}\" and \"{}\" have no upstream",
                                     primary->name, node.name),
                         fmt::format("add upstream = \"{}\" to [node.{}]", primary->name, node.name));
        primary = &node;
    }
    if (primary == nullptr)
        reader_.fail(1, "there is no primary: the file has no node without an upstream",
                     "add [node.primary] with port and data_directory");
    for (const Node& node : nodes_)
        if (node.create && node.upstream)
            reader_.fail(
                node.line,
                fmt::format("node \"{}\" has an upstream, so it can't have create = true", node.name),
                "a standby is always cloned from its upstream; create is for the primary");
    if (primary->create && !cascade.passfile)
        reader_.fail(primary->line, "create = true needs a passfile",
                     "add passfile = \"passwords\" to [cascade]: the new roles' passwords are written there");
}

// A relay has WAL for those below it that need some, or where it has nothing else to relay.
void TreeCheck::find_wal_relays() {
    for (Node& node : nodes_)
        if (node.is_relay() && node.feeds.empty() && node.no_wal_line == 0) node.wal = true;
    for (const Node& start : nodes_) {
        if (!needs_wal(start)) continue;
        for (const Node* below = &start; below->upstream;) {
            const auto above = std::find_if(nodes_.begin(), nodes_.end(),
                                            [&](const Node& node) { return node.name == *below->upstream; });
            if (!above->is_relay()) break;
            if (above->no_wal_line != 0)
                reader_.fail(above->no_wal_line,
                             fmt::format("relay \"{}\" relays no WAL, and node \"{}\" below it needs it",
                                         above->name, below->name),
                             fmt::format("take wal = false out of [node.{}], or give {} another upstream",
                                         above->name, below->name));
            above->wal = true;
            below = &*above;
        }
    }
}

void TreeCheck::check_relays() const {
    for (const Node& node : nodes_) {
        if (!node.is_relay()) continue;
        if (!node.wal && node.feeds.empty())
            reader_.fail(node.line, fmt::format("relay \"{}\" has nothing to relay", node.name),
                         fmt::format("add [node.{}.feed.NAME] with database and publications, or take out "
                                     "wal = false",
                                     node.name));
        check_feeds(node);
        check_sizes(node);
    }
}

// What a relay of WAL keeps in any case can't be given up for the limit.
void TreeCheck::check_sizes(const Node& relay) const {
    const auto size = [&](const char* key) -> std::optional<std::int64_t> {
        const auto found = relay.relay_settings.find(key);
        if (found == relay.relay_settings.end()) return std::nullopt;
        return parse_bytes(std::string_view{found->second}.substr(1, found->second.size() - 2));
    };
    const auto limit = size("max_bytes");
    if (!relay.wal || !limit || size("keep").value_or(kKeptBytes) < *limit) return;
    reader_.fail(
        relay.line,
        fmt::format("relay \"{}\" keeps {} of WAL in any case, and max_bytes is {}", relay.name,
                    format_bytes(size("keep").value_or(kKeptBytes)), format_bytes(*limit)),
        fmt::format("write keep = \"…\" with less into [node.{}.settings], or raise max_bytes", relay.name));
}

void TreeCheck::check_feeds(const Node& relay) const {
    const auto key_of = [](const Feed& feed) {
        return std::pair{feed.database,
                         std::set<std::string>{feed.publications.begin(), feed.publications.end()}};
    };
    const Node* upstream = find(*relay.upstream);
    std::map<std::pair<std::string, std::set<std::string>>, const Feed*> seen;
    for (const Feed& feed : relay.feeds) {
        const auto [other, is_new] = seen.try_emplace(key_of(feed), &feed);
        if (!is_new)
            reader_.fail(
                feed.line,
                fmt::format("feeds \"{}\" and \"{}\" of \"{}\" have the same database and publications",
                            other->second->name, feed.name, relay.name),
                "these are how a subscription says which feed it wants: leave one out");
        if (relay.slot_of(feed).size() > kNameBytes)
            reader_.fail(
                feed.line,
                fmt::format("the slot of feed \"{}\" would be called {}, which is too long", feed.name,
                            relay.slot_of(feed)),
                "PostgreSQL takes at most 63 bytes: write a shorter slot = \"…\" or name of the feed");
        if (!upstream->is_relay()) continue;
        const bool is_there = std::any_of(upstream->feeds.begin(), upstream->feeds.end(),
                                          [&](const Feed& above) { return key_of(above) == key_of(feed); });
        if (!is_there)
            reader_.fail(
                feed.line,
                fmt::format("feed \"{}\" of \"{}\": its upstream \"{}\" is a relay that has no feed with "
                            "this database and just these publications",
                            feed.name, relay.name, upstream->name),
                fmt::format("add it there: [node.{}.feed.{}]", upstream->name, feed.name));
    }
}

void TreeCheck::check_ports() const {
    std::map<std::pair<std::string, std::uint16_t>, const Node*> used;
    for (const Node& node : nodes_) {
        const auto [other, is_new] = used.try_emplace({machine_of(node.host), node.port}, &node);
        if (!is_new)
            reader_.fail(node.line,
                         fmt::format("nodes \"{}\" and \"{}\" have the same host and port: {}:{}",
                                     other->second->name, node.name, node.host, node.port),
                         "each server needs a port of its own");
    }
}

void TreeCheck::check_directories() const {
    struct Use {
        const Node* node;
        std::string machine;
        std::filesystem::path path;
    };
    const auto is_within = [](const std::filesystem::path& inner, const std::filesystem::path& outer) {
        return std::mismatch(outer.begin(), outer.end(), inner.begin(), inner.end()).first == outer.end();
    };
    std::vector<Use> uses;
    for (const Node& node : nodes_) {
        const std::size_t before = uses.size();
        uses.push_back({&node, machine_of(node.host), node.data_directory});
        for (const auto& [source, here] : node.tablespaces)
            uses.push_back({&node, machine_of(node.host), here});
        for (std::size_t mine = before; mine < uses.size(); ++mine)
            for (std::size_t other = 0; other < mine; ++other) {
                if (uses[mine].machine != uses[other].machine) continue;
                if (!is_within(uses[mine].path, uses[other].path) &&
                    !is_within(uses[other].path, uses[mine].path))
                    continue;
                reader_.fail(node.line,
                             fmt::format("directories of nodes \"{}\" and \"{}\" overlap: {} and {}",
                                         uses[other].node->name, node.name, uses[other].path.string(),
                                         uses[mine].path.string()),
                             "each data directory and each tablespace needs a directory of its own");
            }
    }
}

void TreeCheck::check_slots() const {
    std::map<std::pair<std::string, std::string>, const Node*> used;
    for (const Node& node : nodes_) {
        if (!node.upstream) continue;
        for (const std::string& slot : node.slots()) {
            const auto [other, is_new] = used.try_emplace({*node.upstream, slot}, &node);
            if (!is_new)
                reader_.fail(node.line,
                             fmt::format("nodes \"{}\" and \"{}\" have the same slot \"{}\" on \"{}\"",
                                         other->second->name, node.name, slot, *node.upstream),
                             fmt::format("add slot = \"…\" to [node.{}]", node.name));
        }
    }
}

std::vector<Node> TreeCheck::ordered() {
    std::vector<Node> placed;
    std::set<std::string> names;
    // Each round takes one level of the tree, in the order of the file.
    while (placed.size() < nodes_.size()) {
        std::vector<Node> level;
        for (Node& node : nodes_) {
            if (names.contains(node.name) || (node.upstream && !names.contains(*node.upstream))) continue;
            level.push_back(node);
        }
        for (Node& node : level) {
            names.insert(node.name);
            placed.push_back(std::move(node));
        }
    }
    return placed;
}

}  // namespace

bool is_this_machine_name(const std::string& host) {
    const std::string name = lower_case(host);
    return name == "localhost" || name == "::1" || name.starts_with("127.") || name.starts_with('/');
}

bool is_same_machine_name(const std::string& one, const std::string& other) {
    return machine_of(one) == machine_of(other);
}

postgres::Replication replication_of(const Node& node) {
    if (!node.is_relay()) return postgres::Replication::kNone;
    return node.wal ? postgres::Replication::kPhysical : postgres::Replication::kDatabase;
}

Cascade read_cascade_file(const std::filesystem::path& file) {
    const CascadeReader reader{file};
    Cascade cascade = reader.read();
    cascade.nodes = TreeCheck{reader, std::move(cascade.nodes)}.run(cascade);
    return cascade;
}

const Node& Cascade::node(const std::string& node_name) const {
    std::vector<std::string_view> names;
    for (const Node& node : nodes) {
        if (node.name == node_name) return node;
        names.push_back(node.name);
    }
    const std::string nearest = nearest_word(node_name, names);
    throw ConfigError(fmt::format("{} has no node \"{}\"", file.string(), node_name),
                      nearest.empty() ? "" : fmt::format("did you mean \"{}\"?", nearest));
}

std::vector<const Node*> Cascade::downstreams(const std::string& node_name) const {
    std::vector<const Node*> found;
    for (const Node& node : nodes)
        if (node.upstream == node_name) found.push_back(&node);
    return found;
}

bool Cascade::has_relays() const {
    return std::any_of(nodes.begin(), nodes.end(), [](const Node& node) { return node.is_relay(); });
}

const Node& Cascade::server_above(const Node& child) const {
    const Node* above = &node(child.upstream.value());
    while (above->is_relay()) above = &node(*above->upstream);
    return *above;
}

// A relay lets in only who names the database of one of its feeds.
postgres::Conninfo Cascade::conninfo(const Node& node) const {
    const auto conninfo = postgres::Conninfo{}
                              .with("host", node.host)
                              .with("port", std::to_string(node.port))
                              .with("user", user)
                              .with("dbname", node.feeds.empty() ? dbname : node.feeds.front().database);
    return passfile ? conninfo.with("passfile", passfile->string()) : conninfo;
}

postgres::Conninfo Cascade::upstream_conninfo(const Node& child) const {
    return conninfo_as(child, node(child.upstream.value()));
}

postgres::Conninfo Cascade::conninfo_as(const Node& child, const Node& upstream) const {
    const auto conninfo = postgres::Conninfo{}
                              .with("host", upstream.host)
                              .with("port", std::to_string(upstream.port))
                              .with("user", replication_user)
                              .with("application_name", child.name);
    return passfile ? conninfo.with("passfile", passfile->string()) : conninfo;
}

postgres::Conninfo Cascade::feed_conninfo(const Node& relay, const Feed& feed) const {
    return upstream_conninfo(relay).with("dbname", feed.database);
}

std::vector<std::string> Node::slots() const {
    std::vector<std::string> names;
    if (!is_relay() || wal) names.push_back(slot);
    for (const Feed& feed : feeds) names.push_back(slot_of(feed));
    return names;
}

}  // namespace pgcascade::tree
