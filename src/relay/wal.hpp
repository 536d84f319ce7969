#pragma once

#include <atomic>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "log/wal_log.hpp"
#include "protocol/timeline_ancestry.hpp"
#include "relay/incoming_log.hpp"
#include "relay/relay_file.hpp"
#include "relay/standby_horizon.hpp"
#include "relay/upstream_facts.hpp"

namespace pgcascade::relay {

// The WAL of the relay's upstream, in its log. Any thread.
class Wal : public IncomingLog {
  public:
    // Opens the log below the relay's directory, where there is one. Throws LogCorrupt, ConfigError, Error,
    // SystemError.
    Wal(const WalConfig& config, const std::filesystem::path& relay_directory);

    const WalConfig& config() const { return config_; }
    const std::filesystem::path& directory() const { return directory_; }

    // Nothing until the upstream was reached for the first time.
    std::optional<UpstreamFacts> facts() const;

    // Durable when it returns; the first ones make the log. Throws Error where they are those of another
    // cluster than before. The receiver's thread.
    void set_facts(const UpstreamFacts& facts);

    // Null as long as there are no facts.
    log::WalLog* log() { return log_; }
    const log::WalLog* log() const { return log_; }

    // Where the timeline comes from that the log is on. Throws ProtocolError, SystemError.
    protocol::TimelineAncestry ancestry() const;

    // The begin of the WAL that is kept in any case, as far as it is there: of a segment.
    Lsn kept_from() const;

    // What a standby without a slot has told, as long as its session lasts.
    void set_horizon(std::uint32_t session, const StandbyHorizon& horizon);
    void forget_horizon(std::uint32_t session);
    StandbyHorizon horizon() const;

    std::uint64_t bytes() const override;
    bool sync() override;
    void remove_before(std::optional<Lsn> needed) override;
    bool is_held_at(Lsn position) const override;
    const char* way_back() const override;

  private:
    void open_log(const UpstreamFacts& facts);

    const WalConfig config_;
    const std::filesystem::path directory_;
    std::optional<log::WalLog> opened_;
    std::atomic<log::WalLog*> log_{nullptr};  // set once, while sessions look on

    mutable std::mutex mutex_;  // what follows is read by every session, and changes seldom
    std::optional<UpstreamFacts> facts_;
    std::map<std::uint32_t, StandbyHorizon> horizons_;
};

}  // namespace pgcascade::relay
