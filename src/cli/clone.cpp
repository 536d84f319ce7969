#include "postgres/clone.hpp"

#include <map>
#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <pgcascade/error.hpp>

#include "base/clock.hpp"
#include "base/quantity.hpp"
#include "cli/command.hpp"
#include "cli/progress_bar.hpp"
#include "cli/table.hpp"

namespace pgcascade::cli {

namespace {

namespace fs = std::filesystem;

struct CloneArguments {
    std::string conninfo;
    std::vector<std::string> directories;
    std::vector<std::string> tablespace_mappings;  // OLD=NEW
    bool json = false;
};

// For several directories an OLD is given once for each of them, in their order.
using Mappings = std::map<std::string, std::vector<fs::path>>;

Mappings parse_mappings(const CloneArguments& arguments) {
    Mappings mappings;
    for (const std::string& mapping : arguments.tablespace_mappings) {
        const auto equals = mapping.find('=');
        if (equals == std::string::npos || equals == 0 || equals + 1 == mapping.size())
            throw CLI::ValidationError("--tablespace-mapping", "\"" + mapping + "\" is not OLD=NEW");
        mappings[mapping.substr(0, equals)].push_back(fs::absolute(mapping.substr(equals + 1)));
    }
    for (const auto& [location, places] : mappings)
        if (places.size() != arguments.directories.size())
            throw CLI::ValidationError(
                "--tablespace-mapping",
                fmt::format(
                    "{} is mapped {} times, but there are {} directories: give one mapping for each, in "
                    "their order",
                    location, places.size(), arguments.directories.size()));
    return mappings;
}

// Root makes files for the account that will run the server: the one that the place belongs to.
std::optional<FileOwner> owner_of(const fs::path& directory) {
    if (::geteuid() != 0) return std::nullopt;
    for (fs::path path = directory; !path.empty(); path = path.parent_path()) {
        struct stat status {};
        if (::stat(path.c_str(), &status) == 0) return FileOwner{status.st_uid, status.st_gid};
        if (path == path.parent_path()) break;
    }
    return std::nullopt;
}

std::vector<postgres::CloneTarget> targets_of(const CloneArguments& arguments) {
    const Mappings mappings = parse_mappings(arguments);
    std::vector<postgres::CloneTarget> targets;
    for (std::size_t i = 0; i < arguments.directories.size(); ++i) {
        postgres::CloneTarget target{.data_directory = fs::absolute(arguments.directories[i])};
        target.owner = owner_of(target.data_directory);
        for (const auto& [location, places] : mappings) target.tablespaces.emplace(location, places[i]);
        targets.push_back(std::move(target));
    }
    return targets;
}

std::string to_json(const postgres::CloneResult& result, std::chrono::duration<double> elapsed) {
    return fmt::format(R"({{"start":"{}","end":"{}","timeline":{},"bytes":{},"seconds":{:.3f}}})"
                       "\n",
                       result.start.to_string(), result.end.to_string(), result.timeline.value, result.bytes,
                       elapsed.count());
}

std::string to_text(const postgres::CloneResult& result, std::chrono::duration<double> elapsed) {
    const auto rate = static_cast<std::uint64_t>(static_cast<double>(result.bytes) / elapsed.count());
    return fmt::format(
        "cloned {} in {:.1f} s ({}/s); a server on it needs the WAL from {} on (timeline {}), and is "
        "consistent at {}\n",
        format_bytes(result.bytes), elapsed.count(), format_bytes(rate), result.start.to_string(),
        result.timeline.value, result.end.to_string());
}

void run_clone(const CloneArguments& arguments, const StopSignal& stop) {
    const std::vector<postgres::CloneTarget> targets = targets_of(arguments);
    const SteadyTime begin = steady_now();
    postgres::CloneResult result;
    {
        ProgressBar bar{"clone"};
        result = postgres::clone(
            postgres::Conninfo::parse(arguments.conninfo), targets,
            {.stop_fd = stop.fd(),
             .on_progress = [&](std::uint64_t done, std::uint64_t total) { bar.update(done, total); }});
    }
    const std::chrono::duration<double> elapsed = steady_now() - begin;
    print(arguments.json ? to_json(result, elapsed) : to_text(result, elapsed));
}

}  // namespace

void add_clone_command(CLI::App& app, Invocation& invocation) {
    auto arguments = std::make_shared<CloneArguments>();
    CLI::App* command = app.add_subcommand(
        "clone",
        "Copy a running server's data directory into one or more directories, from one backup stream");
    command->footer(
        "The WAL is not copied: before a clone, make the slot through which the new server will fetch it\n"
        "(pgcascade slot create --physical). `pgcascade apply` does all of this.");
    command
        ->add_option("conninfo", arguments->conninfo, "The server: host=… port=… user=…, or postgresql://…")
        ->required();
    command
        ->add_option("directory", arguments->directories, "Data directories: missing, empty, or half cloned")
        ->required();
    command
        ->add_option("--tablespace-mapping", arguments->tablespace_mappings,
                     "OLD=NEW: put the tablespace in OLD on the server into NEW; with several directories, "
                     "once for each")
        ->allow_extra_args(false);
    command->add_flag("--json", arguments->json, "Print the result as JSON");
    command->callback([arguments, &invocation] { run_clone(*arguments, invocation.stop); });
}

}  // namespace pgcascade::cli
