#include "postgres/installation.hpp"

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <pgcascade/error.hpp>

#include "base/diagnostics.hpp"
#include "base/subprocess.hpp"

namespace pgcascade::postgres {

namespace fs = std::filesystem;

namespace {

std::string environment(const char* name) {
    const char* value = std::getenv(name);
    return value != nullptr ? value : "";
}

// Where one `*` stands for every name there is at that place.
struct Place {
    fs::path parent;
    std::string prefix;  // of the names that `*` stands for
    fs::path rest;       // below them

    std::string pattern() const { return (parent / (prefix + "*") / rest).string(); }
};

std::vector<Place> places() {
    std::vector<Place> all = {{"/usr/lib/postgresql", "", "bin"},
                              {"/usr", "pgsql-", "bin"},
                              {"/usr/local", "pgsql", "bin"},
                              {"/opt/pgcascade/postgres", "", "bin"}};
    fs::path data_home = environment("XDG_DATA_HOME");
    if (data_home.empty() && !environment("HOME").empty())
        data_home = fs::path{environment("HOME")} / ".local" / "share";
    if (!data_home.empty()) all.push_back({data_home / "pgcascade" / "postgres", "", "bin"});
    std::error_code error;
    const fs::path self = fs::read_symlink("/proc/self/exe", error);
    if (!error) all.push_back({self.parent_path().parent_path() / "postgres", "", "bin"});
    return all;
}

std::vector<fs::path> expand(const Place& place) {
    std::vector<fs::path> found;
    std::error_code error;
    for (fs::directory_iterator entries{place.parent, error}, end; !error && entries != end;
         entries.increment(error))
        if (entries->path().filename().string().starts_with(place.prefix))
            found.push_back(entries->path() / place.rest);
    return found;
}

std::vector<fs::path> path_directories() {
    std::vector<fs::path> directories;
    const std::string path = environment("PATH");
    for (std::size_t begin = 0; begin <= path.size();) {
        const std::size_t end = std::min(path.find(':', begin), path.size());
        if (end > begin) directories.emplace_back(path.substr(begin, end - begin));
        begin = end + 1;
    }
    return directories;
}

bool is_executable(const fs::path& file) {
    return ::access(file.c_str(), X_OK) == 0;
}

// "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)", "postgres (PostgreSQL) 19devel"
std::optional<std::string> parse_version(const std::string& line) {
    constexpr std::string_view kLead = "(PostgreSQL) ";
    const auto lead = line.find(kLead);
    if (lead == std::string::npos) return std::nullopt;
    const std::string rest = line.substr(lead + kLead.size());
    return rest.substr(0, rest.find_first_of(" \n"));
}

// Nothing where the directory does not hold all three programs, or they don't run here.
std::optional<Installation> look_at(const fs::path& bin_directory) {
    for (const char* program : {"initdb", "pg_ctl", "postgres"})
        if (!is_executable(bin_directory / program)) return std::nullopt;
    // A link in PATH leads to where the program's libraries and share files lie beside it.
    std::error_code error;
    const fs::path postgres = fs::canonical(bin_directory / "postgres", error);
    if (error || !is_executable(postgres.parent_path() / "initdb")) return std::nullopt;

    const CommandResult answer =
        run({.arguments = {postgres.string(), "-V"}, .account = std::nullopt, .directory = {}, .input = {}});
    const auto version = parse_version(answer.output);
    const int major = version ? std::atoi(version->c_str()) : 0;
    if (answer.exit_status != 0 || major == 0) {
        diagnostics::detail(
            fmt::format("{} -V does not tell its version: {}", postgres.string(), answer.output));
        return std::nullopt;
    }
    return Installation{postgres.parent_path(), major, *version};
}

// 15.10 is newer than 15.9.
std::pair<int, int> numeric(const std::string& version) {
    const auto dot = version.find('.');
    return {std::atoi(version.c_str()), dot == std::string::npos ? 0 : std::atoi(version.c_str() + dot + 1)};
}

std::string searched_places() {
    std::vector<std::string> names{"$PGCASCADE_BINDIR", "PATH"};
    for (const Place& place : places()) names.push_back(place.pattern());
    return fmt::format("{}", fmt::join(names, ", "));
}

std::string described(const std::vector<Installation>& found) {
    if (found.empty()) return "none";
    std::vector<std::string> names;
    for (const Installation& one : found)
        names.push_back(fmt::format("{} in {}", one.version, one.bin_directory.string()));
    return fmt::format("{}", fmt::join(names, ", "));
}

// Once for each environment that says where to search.
std::vector<Installation> known_installations() {
    static std::mutex mutex;
    static std::map<std::vector<std::string>, std::vector<Installation>> known;
    const std::lock_guard lock{mutex};
    std::vector<std::string> searched;
    for (const char* name : {"PGCASCADE_BINDIR", "PATH", "XDG_DATA_HOME", "HOME"})
        searched.push_back(environment(name));
    const auto found = known.find(searched);
    if (found != known.end()) return found->second;
    return known.emplace(std::move(searched), find_installations()).first->second;
}

Installation first_that(const std::vector<Installation>& found, const std::string& wanted,
                        const std::function<bool(const Installation&)>& fits) {
    const auto one = std::find_if(found.begin(), found.end(), fits);
    if (one != found.end()) return *one;
    throw ConfigError(
        fmt::format("no server programs of {} are on this machine (found: {}; searched: {})", wanted,
                    described(found), searched_places()),
        "install it, or name the directory of its postgres, initdb and pg_ctl in PGCASCADE_BINDIR");
}

}  // namespace

std::vector<Installation> find_installations() {
    std::vector<Installation> found;
    const auto add = [&found](const fs::path& bin_directory) {
        auto one = look_at(bin_directory);
        if (!one) return false;
        const auto same = [&](const Installation& other) {
            return other.bin_directory == one->bin_directory;
        };
        if (std::none_of(found.begin(), found.end(), same)) found.push_back(std::move(*one));
        return true;
    };

    const std::string chosen = environment("PGCASCADE_BINDIR");
    if (!chosen.empty() && !add(chosen))
        throw ConfigError("PGCASCADE_BINDIR=" + chosen +
                          " does not hold postgres, initdb and pg_ctl that run here");
    const auto rest = static_cast<std::ptrdiff_t>(found.size());
    for (const fs::path& directory : path_directories()) add(directory);
    for (const Place& place : places())
        for (const fs::path& directory : expand(place)) add(directory);
    std::stable_sort(found.begin() + rest, found.end(),
                     [](const Installation& left, const Installation& right) {
                         return numeric(left.version) > numeric(right.version);
                     });
    return found;
}

Installation newest_installation(int at_least) {
    return first_that(known_installations(), fmt::format("PostgreSQL {} or newer", at_least),
                      [&](const Installation& one) { return one.major_version >= at_least; });
}

Installation installation_of(int major_version) {
    return first_that(known_installations(), fmt::format("PostgreSQL {}", major_version),
                      [&](const Installation& one) { return one.major_version == major_version; });
}

}  // namespace pgcascade::postgres
