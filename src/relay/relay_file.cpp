#include "relay/relay_file.hpp"

#include <algorithm>
#include <map>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include <pgcascade/error.hpp>

#include "base/amount.hpp"
#include "base/quantity.hpp"
#include "relay/relay_table.hpp"
#include "relay/slot.hpp"
#include "toml/toml_reader.hpp"

namespace pgcascade::relay {

namespace {

using Entry = TomlFile::Entry;

class RelayReader {
  public:
    explicit RelayReader(const std::filesystem::path& file)
        : file_(std::filesystem::absolute(file).lexically_normal()), toml_(file) {}

    RelayConfig read() const;

  private:
    WalConfig read_wal(const Entry& table) const;
    FeedConfig read_feed(const Entry& table) const;
    std::set<std::string> read_publications(const Entry& entry) const;
    void read_upstream_key(const Entry& entry, UpstreamSlot& upstream) const;
    postgres::Conninfo read_conninfo(const Entry& entry) const;
    std::string read_slot(const Entry& entry) const;
    std::int64_t read_keep(const Entry& entry) const;

    void check_upstream(const UpstreamSlot& upstream, const std::string& where) const;
    void check_feeds(const RelayConfig& config) const;
    void check_slots(const RelayConfig& config) const;
    void check_kept(const RelayConfig& config) const;

    std::filesystem::path file_;
    TomlFile toml_;
};

std::string table_of(const FeedConfig& feed) {
    return "[feed." + feed.name + "]";
}

RelayConfig RelayReader::read() const {
    RelayConfig config;
    config.file = file_;
    config.threads = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
    bool has_relay = false;
    for (const Entry& entry : toml_.entries(toml_.root(), "the file", {"relay", "wal", "feed"})) {
        if (entry.key == "relay") {
            read_relay_table(toml_, entry, config);
            has_relay = true;
        }
        if (entry.key == "wal") config.wal = read_wal(entry);
        if (entry.key != "feed") continue;
        for (const Entry& feed : TomlFile::entries(toml_.table(entry)))
            config.feeds.push_back(read_feed(feed));
    }
    if (!has_relay) toml_.fail(1, "there is no [relay]", "add it, with directory = \"…\" and users = \"…\"");
    if (!config.wal && config.feeds.empty())
        toml_.fail(1, "there is nothing to relay",
                   "add [wal] for physical replication, [feed.NAME] for logical replication, or both");
    check_feeds(config);
    check_slots(config);
    check_kept(config);
    return config;
}

WalConfig RelayReader::read_wal(const Entry& table) const {
    WalConfig wal;
    wal.upstream.line = table.line;
    for (const Entry& entry :
         toml_.entries(toml_.table(table), "[wal]", {"upstream", "slot", "create_slot", "keep"})) {
        read_upstream_key(entry, wal.upstream);
        if (entry.key == "keep") wal.keep_bytes = read_keep(entry);
    }
    check_upstream(wal.upstream, "[wal]");
    return wal;
}

std::int64_t RelayReader::read_keep(const Entry& entry) const {
    const std::string text = toml_.text(entry);
    const auto bytes = parse_bytes(text);
    if (!bytes)
        toml_.fail(
            entry.line, fmt::format("\"{}\" is no amount of WAL to keep", text),
            "write it with its unit, as in postgresql.conf: keep = \"1GB\"; \"0 MB\": what slots need only");
    return *bytes;
}

// What is kept in any case can't be given up for the limit.
void RelayReader::check_kept(const RelayConfig& config) const {
    if (!config.wal || !config.max_bytes || config.wal->keep_bytes < *config.max_bytes) return;
    toml_.fail(config.wal->upstream.line,
               fmt::format("[wal] keeps {}, but max_bytes is {}", format_bytes(config.wal->keep_bytes),
                           format_bytes(*config.max_bytes)),
               "write keep = \"…\" with less than max_bytes, or raise max_bytes");
}

FeedConfig RelayReader::read_feed(const Entry& table) const {
    FeedConfig feed;
    feed.name = table.key;
    feed.upstream.line = table.line;
    if (!is_slot_name(feed.name))
        toml_.fail(table.line, fmt::format("\"{}\" can't be the name of a feed", feed.name),
                   "lower-case letters, digits and '_', at most 63 bytes");
    int upstream_line = table.line;
    for (const Entry& entry :
         toml_.entries(toml_.table(table), table_of(feed),
                       {"upstream", "publications", "messages", "slot", "create_slot"})) {
        read_upstream_key(entry, feed.upstream);
        if (entry.key == "upstream") upstream_line = entry.line;
        if (entry.key == "publications") feed.publications = read_publications(entry);
        if (entry.key == "messages") feed.messages = toml_.boolean(entry);
    }
    check_upstream(feed.upstream, table_of(feed));
    feed.database = feed.upstream.conninfo.get("dbname").value_or("");
    if (feed.database.empty())
        toml_.fail(upstream_line, fmt::format("the upstream of {} names no database", table_of(feed)),
                   "add dbname=… to it: a feed holds the changes of one database");
    if (feed.publications.empty())
        toml_.fail(table.line, table_of(feed) + " has no publications",
                   "write publications = [\"…\"]; CREATE PUBLICATION makes one on the upstream");
    return feed;
}

std::set<std::string> RelayReader::read_publications(const Entry& entry) const {
    std::set<std::string> publications;
    for (const Entry& item : toml_.items(entry))
        if (const std::string name = toml_.text(item); !publications.insert(name).second)
            toml_.fail(item.line, fmt::format("publications names \"{}\" twice", name));
    return publications;
}

void RelayReader::read_upstream_key(const Entry& entry, UpstreamSlot& upstream) const {
    if (entry.key == "upstream") upstream.conninfo = read_conninfo(entry);
    if (entry.key == "slot") upstream.slot = read_slot(entry);
    if (entry.key == "create_slot") upstream.create_slot = toml_.boolean(entry);
}

postgres::Conninfo RelayReader::read_conninfo(const Entry& entry) const {
    const std::string text = toml_.text(entry);
    try {
        return postgres::Conninfo::parse(text);
    } catch (const ConfigError& problem) {
        toml_.fail(entry.line, problem.what(), problem.hint());
    }
}

std::string RelayReader::read_slot(const Entry& entry) const {
    const std::string slot = toml_.text(entry);
    if (!is_slot_name(slot))
        toml_.fail(entry.line, fmt::format("\"{}\" can't be the name of a replication slot", slot),
                   "a slot's name holds lower-case letters, digits and '_' only, at most 63 bytes");
    return slot;
}

void RelayReader::check_upstream(const UpstreamSlot& upstream, const std::string& where) const {
    if (upstream.conninfo.pairs().empty())
        toml_.fail(upstream.line, where + " has no upstream",
                   "write upstream = \"host=… user=…\": the server from which the relay fetches");
    if (upstream.slot.empty())
        toml_.fail(upstream.line, where + " has no slot",
                   "write slot = \"…\": the relay's own replication slot on the upstream");
}

void RelayReader::check_feeds(const RelayConfig& config) const {
    std::map<std::pair<std::string, std::set<std::string>>, const FeedConfig*> seen;
    for (const FeedConfig& feed : config.feeds) {
        const auto [other, is_new] = seen.try_emplace({feed.database, feed.publications}, &feed);
        if (!is_new)
            toml_.fail(feed.upstream.line,
                       fmt::format("feeds \"{}\" and \"{}\" have the same database and publications",
                                   other->second->name, feed.name),
                       "these are how a subscription says which feed it wants: leave one out");
    }
}

// A server's slots have one set of names, whatever database they are of and whoever made them.
void RelayReader::check_slots(const RelayConfig& config) const {
    std::map<std::vector<std::string>, std::string> seen;
    const auto check_slot = [&](const UpstreamSlot& upstream, const std::string& where) {
        const postgres::Conninfo& server = upstream.conninfo;
        const auto [other, is_new] = seen.try_emplace(
            {server.get("host").value_or(""), server.get("hostaddr").value_or(""),
             server.get("port").value_or("5432"), server.get("service").value_or(""), upstream.slot},
            where);
        if (!is_new)
            toml_.fail(upstream.line,
                       fmt::format("{} and {} have the same slot \"{}\" on the same upstream", other->second,
                                   where, upstream.slot),
                       "each needs a slot of its own");
    };
    if (config.wal) check_slot(config.wal->upstream, "[wal]");
    for (const FeedConfig& feed : config.feeds) check_slot(feed.upstream, table_of(feed));
}

}  // namespace

bool RelayConfig::trusts(const Address& address) const {
    return std::any_of(trust.begin(), trust.end(),
                       [&](const AddressRange& range) { return range.contains(address); });
}

RelayConfig read_relay_file(const std::filesystem::path& file) {
    return RelayReader{file}.read();
}

}  // namespace pgcascade::relay
