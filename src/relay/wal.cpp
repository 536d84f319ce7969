#include "relay/wal.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include <pgcascade/error.hpp>

#include "base/diagnostics.hpp"
#include "base/file.hpp"

namespace pgcascade::relay {

namespace fs = std::filesystem;

namespace {

constexpr const char* kFactsFile = "upstream";

fs::path make_directory(const fs::path& relay_directory) {
    fs::path directory = relay_directory / "wal";
    std::error_code error;
    if (fs::create_directories(directory, error); error)
        throw SystemError("can't make " + directory.string(), error.value());
    fsync_directory(relay_directory);
    return directory;
}

}  // namespace

Wal::Wal(const WalConfig& config, const fs::path& relay_directory)
    : IncomingLog("wal", {{"component", "wal"}}),
      config_(config),
      directory_(make_directory(relay_directory)),
      facts_(load_facts(directory_ / kFactsFile)) {
    if (facts_) open_log(*facts_);
}

void Wal::open_log(const UpstreamFacts& facts) {
    opened_.emplace(directory_, log::WalLogOptions{.segment_bytes = facts.segment_bytes});
    if (const auto& cut = opened_->cut())
        diagnostics::warning(
            fmt::format("wal: {} bytes at the end of the log were not whole and are received again ({})",
                        cut->bytes, cut->reason),
            {}, about());
    log_ = &*opened_;
}

std::optional<UpstreamFacts> Wal::facts() const {
    const std::lock_guard lock{mutex_};
    return facts_;
}

void Wal::set_facts(const UpstreamFacts& facts) {
    const auto before = this->facts();
    if (before == facts) return;
    if (before && before->system_identifier != facts.system_identifier)
        throw Error(fmt::format("the upstream is another cluster now: its system identifier is {}, the log "
                                "holds the WAL of {}",
                                facts.system_identifier, before->system_identifier),
                    fmt::format("check where its connection string leads; to begin anew, stop the relay and "
                                "remove {}: its standbys need a new copy then",
                                directory_.string()));
    if (before && before->segment_bytes != facts.segment_bytes)
        throw Error(fmt::format("the upstream's wal_segment_size is {} bytes now, the log's segments have {}",
                                facts.segment_bytes, before->segment_bytes),
                    fmt::format("to begin anew, stop the relay and remove {}", directory_.string()));
    save_facts(directory_ / kFactsFile, facts);
    if (!before) open_log(facts);
    const std::lock_guard lock{mutex_};
    facts_ = facts;
}

protocol::TimelineAncestry Wal::ancestry() const {
    const TimelineId timeline = log()->readable().timeline;
    const auto content = log()->history(timeline);
    return protocol::parse_timeline_ancestry(timeline, content.value_or(""));
}

// -- What standbys need of the upstream's rows --

void Wal::set_horizon(std::uint32_t session, const StandbyHorizon& horizon) {
    const std::lock_guard lock{mutex_};
    horizons_[session] = horizon;
}

void Wal::forget_horizon(std::uint32_t session) {
    const std::lock_guard lock{mutex_};
    horizons_.erase(session);
}

StandbyHorizon Wal::horizon() const {
    const std::lock_guard lock{mutex_};
    StandbyHorizon oldest;
    for (const auto& [session, horizon] : horizons_) oldest.include(horizon);
    return oldest;
}

// -- The log keeper's --

std::uint64_t Wal::bytes() const {
    if (log() == nullptr) return 0;
    return static_cast<std::uint64_t>(
        std::max<std::int64_t>(0, distance(log()->begin().lsn, log()->readable().lsn)));
}

bool Wal::sync() {
    if (log() == nullptr || log()->durable() == log()->readable()) return false;
    log()->sync();
    return true;
}

// Standbys without a slot rely on it, as on a server's wal_keep_size.
Lsn Wal::kept_from() const {
    const std::uint64_t end = log()->durable().lsn.value;
    const std::uint64_t from = end - std::min(end, static_cast<std::uint64_t>(config_.keep_bytes));
    return std::max(log()->begin().lsn, Lsn{from - from % facts()->segment_bytes});
}

void Wal::remove_before(std::optional<Lsn> needed) {
    if (log() == nullptr || log()->durable().timeline.value == 0) return;
    const Lsn kept = kept_from();
    log()->remove_before(std::min(kept, needed.value_or(kept)));
}

bool Wal::is_held_at(Lsn position) const {
    return log() != nullptr && log()->durable().timeline.value != 0 && position < kept_from();
}

const char* Wal::way_back() const {
    return "its standby needs a new base backup; drop the slot";
}

}  // namespace pgcascade::relay
