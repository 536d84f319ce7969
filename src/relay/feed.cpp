#include "relay/feed.hpp"

#include <algorithm>

#include <fmt/format.h>

#include <pgcascade/error.hpp>

#include "base/file.hpp"
#include "log/wal_name.hpp"

namespace pgcascade::relay {

namespace fs = std::filesystem;

namespace {

constexpr const char* kFactsFile = "upstream";

fs::path make_directory(const fs::path& relay_directory, const std::string& feed) {
    const fs::path feeds = relay_directory / "feeds";
    const fs::path directory = feeds / feed;
    std::error_code error;
    if (fs::create_directories(directory, error); error)
        throw SystemError("can't make " + directory.string(), error.value());
    fsync_directory(relay_directory);
    fsync_directory(feeds);
    return directory;
}

// Whole segments are removed: of a log that may take little, each must be a small part.
std::uint64_t segment_bytes_for(std::optional<std::int64_t> max_bytes) {
    constexpr std::int64_t kLeast = 64 << 10;
    constexpr std::int64_t kMost = 64 << 20;
    return static_cast<std::uint64_t>(max_bytes ? std::clamp(*max_bytes / 8, kLeast, kMost) : kMost);
}

}  // namespace

Feed::Feed(const FeedConfig& config, const fs::path& relay_directory, std::optional<std::int64_t> max_bytes)
    : IncomingLog("feed " + config.name, {{"component", "feed"}, {"feed", config.name}}),
      config_(config),
      directory_(make_directory(relay_directory, config.name)),
      log_(directory_, {.segment_bytes = segment_bytes_for(max_bytes),
                        .preamble = [this] { return definitions_.frames(); }}),
      writer_(log_, definitions_),
      facts_(load_facts(directory_ / kFactsFile)) {
    if (facts_ && facts_->publications != config_.publications)
        throw ConfigError(
            fmt::format("feed {}: its log holds other publications than relay.toml asks for", name()),
            fmt::format("give the feed of the new set a name of its own; where nobody reads the old "
                        "one any more, remove {}",
                        directory_.string()));
    const auto last = log_.last();
    mark_ = {log_.finished(), last ? last->end_lsn : Lsn{}};
    if (facts_) mark_.upto = std::max({mark_.upto, facts_->start, facts_->received_from});
}

std::optional<UpstreamFacts> Feed::facts() const {
    const std::lock_guard lock{mutex_};
    return facts_;
}

void Feed::set_facts(const UpstreamFacts& facts) {
    const auto before = this->facts();
    if (before == facts) return;
    if (before &&
        (before->system_identifier != facts.system_identifier || before->database != facts.database))
        throw Error(
            fmt::format("feed {}: the upstream is another one now: database \"{}\" of the cluster with "
                        "system identifier {}; the log holds \"{}\" of {}",
                        name(), facts.database, facts.system_identifier, before->database,
                        before->system_identifier),
            fmt::format("check where its connection string leads; to begin anew, stop the relay and "
                        "remove {}: its subscribers need a new copy then",
                        directory_.string()));
    save_facts(directory_ / kFactsFile, facts);
    const std::lock_guard lock{mutex_};
    facts_ = facts;
    if (mark_.upto < facts.start) mark_ = {log_.finished(), facts.start};
}

Feed::Mark Feed::mark() const {
    const std::lock_guard lock{mutex_};
    return mark_;
}

void Feed::set_mark(Mark mark) {
    const std::lock_guard lock{mutex_};
    if (mark.upto > mark_.upto) mark_ = mark;
}

void Feed::cut_back(Lsn end) {
    log_.cut_back(end);
    const std::lock_guard lock{mutex_};
    mark_ = {log_.finished(), std::min(mark_.upto, end)};
}

void Feed::add_history(TimelineId timeline, const std::string& content) const {
    write_file_durably(log::WalDirectory{directory_}.history_file(timeline), content, 0600);
}

std::optional<std::string> Feed::history(TimelineId timeline) const {
    const fs::path file = log::WalDirectory{directory_}.history_file(timeline);
    if (!fs::exists(file)) return std::nullopt;
    return read_file(file);
}

Lsn Feed::durable() const {
    if (const auto entry = log_.entry_before(log_.durable())) return entry->end_lsn;
    const std::lock_guard lock{mutex_};
    return facts_ ? facts_->start : Lsn{};
}

bool Feed::sync() {
    if (log_.durable() == log_.finished()) return false;
    log_.sync();
    return true;
}

bool Feed::is_held_at(Lsn position) const {
    return !log_.can_remove_before(log_.find(position)) && log_.can_remove_before(log_.finished());
}

void Feed::remove_before(std::optional<Lsn> needed) {
    log_.remove_before(needed ? log_.find(*needed) : log_.finished());
}

const char* Feed::way_back() const {
    return "its subscriber needs a new copy of the data; drop the slot";
}

}  // namespace pgcascade::relay
