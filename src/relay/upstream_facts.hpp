#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>

#include <pgcascade/lsn.hpp>

namespace pgcascade::relay {

// What the relay knows of an upstream, and says in its place while that is away.
struct UpstreamFacts {
    std::string system_identifier = {};
    TimelineId timeline = {};
    std::string database = {};  // a feed's, as the next two
    std::set<std::string> publications = {};
    Lsn start = {};  // the feed begins here: all that committed from there on is in its log

    // Of a feed: the server that it was received from last, one run of it, and from where on it was. All
    // before that is on disk, and of `timeline`; what follows is of that server's history, whatever timelines
    // it goes over to meanwhile.
    std::string server_run = {};
    Lsn received_from = {};

    std::uint64_t segment_bytes = 0;  // wal_segment_size, for WAL

    // What the server reports of itself at login (ParameterStatus): server_version, server_encoding, …
    std::map<std::string, std::string> parameters = {};

    bool operator==(const UpstreamFacts&) const = default;
};

// Nothing where there is no such file. Throws ConfigError for one that is damaged, SystemError.
std::optional<UpstreamFacts> load_facts(const std::filesystem::path& file);
void save_facts(const std::filesystem::path& file, const UpstreamFacts& facts);

}  // namespace pgcascade::relay
