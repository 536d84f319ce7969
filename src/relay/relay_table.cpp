#include "relay/relay_table.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>
#include <sys/un.h>

#include "base/amount.hpp"
#include "base/quantity.hpp"

namespace pgcascade::relay {

namespace {

using Entry = TomlFile::Entry;
using std::chrono::milliseconds;

constexpr std::uint16_t kPort = 6432;

class RelayTableReader {
  public:
    RelayTableReader(const TomlFile& toml, const Entry& table, RelayConfig& config)
        : toml_(toml), table_(table), config_(config) {}

    void read();

  private:
    void read_key(const Entry& entry);
    void read_limit(const Entry& entry);
    std::int64_t read_bytes(const Entry& entry) const;
    milliseconds read_duration(const Entry& entry, milliseconds lowest, milliseconds highest) const;
    std::vector<ListenAddress> read_listen(const Entry& entry) const;
    ListenAddress read_listen_address(const Entry& item) const;
    std::vector<AddressRange> read_trust(const Entry& entry) const;
    WhenFull read_when_full(const Entry& entry) const;
    std::filesystem::path read_path(const Entry& entry) const;

    ListenAddress read_metrics(const Entry& entry) const;

    void check_tls(int line);
    void check_users(int line) const;
    void check_metrics(int line) const;

    const TomlFile& toml_;
    const Entry& table_;
    RelayConfig& config_;
    std::uint16_t port_ = kPort;  // of Unix sockets
    TlsFiles tls_;
    bool is_metrics_public_ = false;
};

void RelayTableReader::read() {
    const auto entries = toml_.entries(
        toml_.table(table_), "[relay]",
        {"listen", "port", "directory", "users", "trust", "tls_certificate", "tls_key", "max_bytes",
         "when_full", "threads", "connections", "connections_per_address_before_login", "login_timeout",
         "wal_sender_timeout", "wal_receiver_timeout", "metrics", "metrics_public"});
    int listen_line = table_.line;
    int tls_line = table_.line;
    int metrics_line = table_.line;
    for (const Entry& entry : entries) {
        if (entry.key == "port") port_ = static_cast<std::uint16_t>(toml_.integer(entry, 1, 65535));
        if (entry.key == "listen") listen_line = entry.line;
        if (entry.key.starts_with("tls_")) tls_line = entry.line;
        if (entry.key == "metrics" || (entry.key == "metrics_public" && metrics_line == table_.line))
            metrics_line = entry.line;
    }
    config_.listen = {{.host = "127.0.0.1", .port = kPort}};
    for (const Entry& entry : entries) {
        read_key(entry);
        read_limit(entry);
    }
    if (config_.directory.empty())
        toml_.fail(table_.line, "[relay] has no directory",
                   "write directory = \"…\": where the relay keeps its log and its slots");
    check_tls(tls_line);
    check_users(listen_line);
    check_metrics(metrics_line);
}

void RelayTableReader::read_key(const Entry& entry) {
    if (entry.key == "listen") config_.listen = read_listen(entry);
    if (entry.key == "directory") config_.directory = read_path(entry);
    if (entry.key == "users") config_.users = read_path(entry);
    if (entry.key == "trust") config_.trust = read_trust(entry);
    if (entry.key == "tls_certificate") tls_.certificate = read_path(entry);
    if (entry.key == "tls_key") tls_.key = read_path(entry);
    if (entry.key == "metrics") config_.metrics = read_metrics(entry);
    if (entry.key == "metrics_public") is_metrics_public_ = toml_.boolean(entry);
    if (entry.key == "when_full") config_.when_full = read_when_full(entry);
}

void RelayTableReader::read_limit(const Entry& entry) {
    using std::chrono::hours, std::chrono::seconds;
    const auto count = [&](int highest) { return static_cast<int>(toml_.integer(entry, 1, highest)); };
    if (entry.key == "max_bytes") config_.max_bytes = read_bytes(entry);
    if (entry.key == "threads") config_.threads = count(1024);
    if (entry.key == "connections") config_.connections = count(1'000'000);
    if (entry.key == "connections_per_address_before_login")
        config_.connections_per_address_before_login = count(1'000'000);
    if (entry.key == "login_timeout") config_.login_timeout = read_duration(entry, seconds{1}, seconds{600});
    if (entry.key == "wal_sender_timeout")
        config_.wal_sender_timeout = read_duration(entry, milliseconds{0}, hours{24});
    if (entry.key == "wal_receiver_timeout")
        config_.wal_receiver_timeout = read_duration(entry, milliseconds{0}, hours{24});
}

std::int64_t RelayTableReader::read_bytes(const Entry& entry) const {
    const std::string text = toml_.text(entry);
    const auto bytes = parse_bytes(text);
    if (bytes.value_or(0) == 0)
        toml_.fail(entry.line, fmt::format("{} is \"{}\", which is no size", entry.key, text),
                   "write it as \"10 GB\" or \"512 MB\"; the units are B, kB, MB, GB and TB");
    return *bytes;
}

milliseconds RelayTableReader::read_duration(const Entry& entry, milliseconds lowest,
                                             milliseconds highest) const {
    const std::string text = toml_.text(entry);
    const auto duration = parse_duration(text);
    if (!duration)
        toml_.fail(entry.line, fmt::format("{} is \"{}\", which is no time", entry.key, text),
                   "write it as \"10s\" or \"500 ms\"; the units are ms, s, min, h and d");
    if (*duration < lowest || *duration > highest)
        toml_.fail(entry.line,
                   fmt::format("{} is {}, not from {} to {}", entry.key, format_duration(*duration),
                               format_duration(lowest), format_duration(highest)));
    return *duration;
}

std::vector<ListenAddress> RelayTableReader::read_listen(const Entry& entry) const {
    std::vector<ListenAddress> addresses;
    for (const Entry& item : toml_.items(entry)) {
        ListenAddress address = read_listen_address(item);
        if (std::find(addresses.begin(), addresses.end(), address) != addresses.end())
            toml_.fail(item.line, fmt::format("listen names {} twice", address.to_string()));
        addresses.push_back(std::move(address));
    }
    if (addresses.empty())
        toml_.fail(entry.line, "listen names no address", "leave it out for 127.0.0.1:6432");
    return addresses;
}

ListenAddress RelayTableReader::read_listen_address(const Entry& item) const {
    const std::string text = toml_.text(item);
    if (text.find('/') != std::string::npos) {
        ListenAddress address{.port = port_, .directory = read_path(item)};
        constexpr std::size_t kMost = sizeof(sockaddr_un{}.sun_path) - 1;  // less the zero at its end
        if (address.socket().string().size() > kMost)
            toml_.fail(item.line,
                       fmt::format("the path of the socket {} is too long", address.socket().string()),
                       fmt::format("the system takes at most {} bytes", kMost));
        return address;
    }
    const auto address = parse_tcp_address(text);
    if (!address)
        toml_.fail(item.line, fmt::format("\"{}\" is no address to listen on", text),
                   "write host:port, with an IPv6 address in brackets: \"[::1]:6432\"; or the directory of a "
                   "Unix socket, with a slash in it");
    return *address;
}

// What a network can carry can be forged, or be somebody else tomorrow; these addresses can't.
std::vector<AddressRange> RelayTableReader::read_trust(const Entry& entry) const {
    std::vector<AddressRange> trust;
    for (const Entry& item : toml_.items(entry)) {
        const std::string text = toml_.text(item);
        const auto range = AddressRange::parse(text);
        if (!range)
            toml_.fail(item.line, fmt::format("\"{}\" is no address and no network", text),
                       "write \"local\" for Unix sockets, \"127.0.0.1\", or a network as \"127.0.0.0/8\"");
        if (!range->is_this_machine())
            toml_.fail(
                item.line, fmt::format("{} can't be trusted: it is not this machine alone", text),
                "only \"local\", 127.0.0.0/8 and ::1 may come without a password; the others need one, "
                "in the users file");
        trust.push_back(*range);
    }
    return trust;
}

WhenFull RelayTableReader::read_when_full(const Entry& entry) const {
    const std::string word = toml_.text(entry);
    if (word != "invalidate" && word != "pause")
        toml_.fail(entry.line, fmt::format("when_full is \"{}\", not \"invalidate\" or \"pause\"", word));
    return word == "pause" ? WhenFull::kPause : WhenFull::kInvalidate;
}

std::filesystem::path RelayTableReader::read_path(const Entry& entry) const {
    const std::filesystem::path path = (config_.file.parent_path() / toml_.text(entry)).lexically_normal();
    return path.has_filename() ? path : path.parent_path();  // without a slash at the end
}

// No name: what it stands for may be another address tomorrow.
ListenAddress RelayTableReader::read_metrics(const Entry& entry) const {
    const std::string text = toml_.text(entry);
    const auto address = parse_tcp_address(text);
    if (!address || !Address::parse(address->host))
        toml_.fail(entry.line, fmt::format("metrics is \"{}\", which is no address with a port", text),
                   "write \"127.0.0.1:9187\", with an IPv6 address in brackets: \"[::1]:9187\"");
    return *address;
}

void RelayTableReader::check_tls(int line) {
    if (tls_.certificate.empty() != tls_.key.empty())
        toml_.fail(line, tls_.key.empty() ? "tls_certificate needs tls_key" : "tls_key needs tls_certificate",
                   "write both, or neither: the relay speaks no TLS then");
    if (!tls_.key.empty()) config_.tls = std::move(tls_);
}

bool is_trusted(const ListenAddress& address, const RelayConfig& config) {
    if (address.is_local()) return config.trusts(Address::local());
    if (address.host == "localhost")
        return config.trusts(*Address::parse("127.0.0.1")) && config.trusts(*Address::parse("::1"));
    const auto host = Address::parse(address.host);
    return host && config.trusts(*host);
}

void RelayTableReader::check_users(int line) const {
    if (config_.users) return;
    for (const ListenAddress& address : config_.listen)
        if (!is_trusted(address, config_))
            toml_.fail(line,
                       fmt::format("nobody could log in on {}: there are no users", address.to_string()),
                       "write users = \"users.toml\"; or trust = [\"local\", \"127.0.0.1\"], where nobody "
                       "on this machine needs a password");
}

// Nobody is asked for a password there.
void RelayTableReader::check_metrics(int line) const {
    if (!config_.metrics && is_metrics_public_)
        toml_.fail(line, "metrics_public needs metrics", "write metrics = \"10.0.0.5:9187\": where they are");
    if (!config_.metrics || is_metrics_public_ || Address::parse(config_.metrics->host)->is_loopback())
        return;
    toml_.fail(line,
               fmt::format("metrics is {}, which other machines can reach", config_.metrics->to_string()),
               "whoever connects there may read them: write metrics_public = true beside it where that is "
               "meant, or \"127.0.0.1:9187\"");
}

}  // namespace

void read_relay_table(const TomlFile& toml, const TomlFile::Entry& table, RelayConfig& config) {
    RelayTableReader{toml, table, config}.read();
}

}  // namespace pgcascade::relay
