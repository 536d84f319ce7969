#pragma once

#include <cstdint>
#include <filesystem>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "log/feed_log.hpp"
#include "relay/feed_writer.hpp"
#include "relay/incoming_log.hpp"
#include "relay/relay_file.hpp"
#include "relay/upstream_facts.hpp"

namespace pgcascade::relay {

// One feed: what one logical slot of an upstream sends, in the relay's log. Any thread, but where it says
// otherwise.
class Feed : public IncomingLog {
  public:
    // Opens the log below the relay's directory, or begins one. `max_bytes`: the most that it may take; its
    // segments are small enough for that. Throws LogCorrupt, ConfigError, SystemError.
    Feed(const FeedConfig& config, const std::filesystem::path& relay_directory,
         std::optional<std::int64_t> max_bytes = std::nullopt);

    const std::string& name() const { return config_.name; }
    const FeedConfig& config() const { return config_; }
    const std::filesystem::path& directory() const { return directory_; }
    log::FeedLog& log() { return log_; }
    const log::FeedLog& log() const { return log_; }

    // The receiver's thread.
    FeedWriter& writer() { return writer_; }

    // Nothing until the upstream was reached for the first time.
    std::optional<UpstreamFacts> facts() const;

    // Durable when it returns. Throws Error where they are those of another cluster or database than before.
    void set_facts(const UpstreamFacts& facts);

    // The upstream has read its WAL up to `upto`, and all of it that concerns the feed stands before `place`.
    struct Mark {
        log::FeedPosition place;
        Lsn upto;
    };
    Mark mark() const;
    void set_mark(Mark mark);  // never lowers it

    // The upstream's history does not have what lies beyond: takes it out of the log, and lowers the mark.
    // The receiver's thread. A failure must end the process.
    void cut_back(Lsn end);

    // The upstream's timelines, as it gave their files. Durable when it returns.
    void add_history(TimelineId timeline, const std::string& content) const;
    std::optional<std::string> history(TimelineId timeline) const;

    // Up to where the upstream may forget: the end of the last entry that is on disk.
    Lsn durable() const;

    std::uint64_t bytes() const override { return bytes_between(log_.begin(), log_.readable()); }
    bool sync() override;
    void remove_before(std::optional<Lsn> needed) override;
    bool is_held_at(Lsn position) const override;
    const char* way_back() const override;

  private:
    const FeedConfig config_;
    const std::filesystem::path directory_;
    Definitions definitions_;
    log::FeedLog log_;
    FeedWriter writer_;

    mutable std::mutex mutex_;  // what follows is read by every session, and changes seldom
    std::optional<UpstreamFacts> facts_;
    Mark mark_;
};

}  // namespace pgcascade::relay
