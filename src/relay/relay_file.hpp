#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "postgres/conninfo.hpp"
#include "relay/address.hpp"
#include "relay/listen_address.hpp"

// relay.toml: where a relay listens, whom it lets in, and what it fetches from where. docs/relay_file.md is
// its reference.

namespace pgcascade::relay {

struct TlsFiles {
    std::filesystem::path certificate;
    std::filesystem::path key;
};

// A slot on a server, from which the relay fetches.
struct UpstreamSlot {
    postgres::Conninfo conninfo;  // may hold a password: for messages there is redacted()
    std::string slot;
    bool create_slot = false;  // the relay may make it where it does not exist
    int line = 0;              // of its table
};

struct FeedConfig {
    std::string name;
    UpstreamSlot upstream;
    std::string database;  // the upstream's; with the publications it is how downstreams ask for it
    std::set<std::string> publications;  // at least one
    bool messages = false;               // those of pg_logical_emit_message(), too
};

struct WalConfig {
    UpstreamSlot upstream;
    std::int64_t keep_bytes = std::int64_t{1} << 30;  // at least, for standbys without a slot
};

// What happens once a log has reached max_bytes, for the sake of the slot that lags most.
enum class WhenFull {
    kInvalidate,  // the slot is given up
    kPause,       // nothing is fetched until the slot has moved on
};

struct RelayConfig {
    std::filesystem::path file;  // absolute, as all paths here
    std::filesystem::path directory;
    std::vector<ListenAddress> listen;
    std::optional<std::filesystem::path> users;
    std::vector<AddressRange> trust;  // who needs no password: none but this machine's own addresses
    std::optional<TlsFiles> tls;
    std::optional<ListenAddress> metrics;   // where Prometheus finds them; an address, no name
    std::optional<std::int64_t> max_bytes;  // of each feed's log, and of the WAL's; nothing: no limit
    WhenFull when_full = WhenFull::kInvalidate;
    int threads = 1;
    int connections = 10'000;
    int connections_per_address_before_login = 100;
    std::chrono::milliseconds login_timeout = std::chrono::seconds{10};
    std::chrono::milliseconds wal_sender_timeout = std::chrono::seconds{60};    // 0: never
    std::chrono::milliseconds wal_receiver_timeout = std::chrono::seconds{60};  // 0: never
    std::optional<WalConfig> wal;
    std::vector<FeedConfig> feeds;  // as the file has them

    bool trusts(const Address& address) const;
};

// Relative paths are relative to the file. Throws ConfigError, as "file:line: what is wrong" with a hint, for
// a syntax error, an unknown key (with the nearest known one), a value of the wrong type or out of range, and
// what does not fit together: see docs/relay_file.md. Throws SystemError where the file can't be read. No
// password of a connection string is in any of them.
RelayConfig read_relay_file(const std::filesystem::path& file);

}  // namespace pgcascade::relay
