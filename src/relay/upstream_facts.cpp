#include "relay/upstream_facts.hpp"

#include <sstream>

#include <fmt/format.h>

#include <pgcascade/error.hpp>

#include "base/file.hpp"
#include "log/wal_name.hpp"
#include "toml/toml_reader.hpp"

namespace pgcascade::relay {

namespace fs = std::filesystem;

namespace {

constexpr mode_t kPrivate = 0600;

Lsn read_lsn(const TomlFile& file, const TomlFile::Entry& entry) {
    if (const auto lsn = Lsn::parse(file.text(entry))) return *lsn;
    file.fail(entry.line, "\"" + entry.key + "\" is no LSN");
}

}  // namespace

std::optional<UpstreamFacts> load_facts(const fs::path& name) {
    if (!fs::exists(name)) return std::nullopt;
    const TomlFile file{name};
    UpstreamFacts facts;
    for (const auto& entry :
         file.entries(file.root(), "the file",
                      {"system_identifier", "timeline", "database", "publications", "start", "server_run",
                       "received_from", "segment_bytes", "parameters"})) {
        if (entry.key == "system_identifier") facts.system_identifier = file.text(entry);
        if (entry.key == "timeline")
            facts.timeline.value = static_cast<std::uint32_t>(file.integer(entry, 1, 0xFFFFFFFF));
        if (entry.key == "database") facts.database = file.text(entry);
        if (entry.key == "publications")
            for (const auto& item : file.items(entry)) facts.publications.insert(file.text(item));
        if (entry.key == "start") facts.start = read_lsn(file, entry);
        if (entry.key == "server_run") facts.server_run = file.text(entry);
        if (entry.key == "received_from") facts.received_from = read_lsn(file, entry);
        if (entry.key == "segment_bytes")
            facts.segment_bytes = static_cast<std::uint64_t>(
                file.integer(entry, log::kSmallestWalSegment, log::kLargestWalSegment));
        if (entry.key == "parameters")
            for (const auto& parameter : TomlFile::entries(file.table(entry)))
                facts.parameters[parameter.key] = file.scalar(parameter);
    }
    return facts;
}

void save_facts(const fs::path& name, const UpstreamFacts& facts) {
    toml::table parameters;
    for (const auto& [key, value] : facts.parameters) parameters.insert(key, value);
    toml::array publications;
    for (const std::string& publication : facts.publications) publications.push_back(publication);
    toml::table root{{"system_identifier", facts.system_identifier},
                     {"timeline", std::int64_t{facts.timeline.value}}};
    if (facts.segment_bytes != 0) {
        root.insert("segment_bytes", static_cast<std::int64_t>(facts.segment_bytes));
    } else {
        root.insert("database", facts.database);
        root.insert("publications", std::move(publications));
        root.insert("start", facts.start.to_string());
        root.insert("server_run", facts.server_run);
        root.insert("received_from", facts.received_from.to_string());
    }
    root.insert("parameters", std::move(parameters));
    std::ostringstream text;
    text << root << '\n';
    write_file_durably(name, text.str(), kPrivate);
}

}  // namespace pgcascade::relay
