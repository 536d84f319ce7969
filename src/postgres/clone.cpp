#include "postgres/clone.hpp"

#include <algorithm>
#include <cerrno>
#include <memory>
#include <set>
#include <utility>

#include <fmt/format.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/statfs.h>

#include <pgcascade/error.hpp>

#include "base/quantity.hpp"
#include "postgres/backup_receiver.hpp"
#include "postgres/base_backup_stream.hpp"
#include "postgres/clone_feed.hpp"
#include "postgres/connection.hpp"
#include "postgres/target_directory.hpp"

namespace pgcascade::postgres {

namespace fs = std::filesystem;

namespace {

constexpr int kOldestVersion = 150000;

// A server that is busy may be silent for long; one that is gone must be noticed all the same.
Conninfo with_keepalives(const Conninfo& source) {
    return source.with_default("keepalives_idle", "30")
        .with_default("keepalives_interval", "10")
        .with_default("keepalives_count", "3");
}

void check_version(const Connection& connection) {
    if (connection.server_version() >= kOldestVersion) return;
    throw ConfigError(fmt::format("{} runs PostgreSQL {}: only 15 and later can be cloned", connection.name(),
                                  connection.server_version() / 10000),
                      "upgrade that server, or make the copy with its own pg_basebackup");
}

// "0750" lets the group read, "0700" does not (initdb --allow-group-access).
bool has_group_access(Connection& connection) {
    const Result mode = connection.command("SHOW data_directory_mode");
    return mode.rows() == 1 && mode.at(0, 0) == "0750";
}

// Clearing or filling one place must never touch another.
void check_places_apart(const std::vector<CloneTarget>& targets,
                        const std::vector<std::vector<fs::path>>& tablespaces) {
    std::vector<fs::path> places;
    for (std::size_t i = 0; i < targets.size(); ++i) {
        places.push_back(fs::weakly_canonical(targets[i].data_directory));
        for (const fs::path& place : tablespaces[i]) places.push_back(fs::weakly_canonical(place));
    }
    // Sorted, a directory stands right before what lies in it.
    std::sort(places.begin(), places.end());
    for (std::size_t i = 1; i < places.size(); ++i) {
        const auto [end, rest] =
            std::mismatch(places[i - 1].begin(), places[i - 1].end(), places[i].begin(), places[i].end());
        if (end == places[i - 1].end())
            throw ConfigError(
                fmt::format("the clone would put both {} and {} there", places[i - 1].string(),
                            places[i].string()),
                "give each data directory and each tablespace of each clone a directory of its own; "
                "tablespaces: [node.<name>.tablespaces] in the cascade file, or --tablespace-mapping");
    }
}

struct FileSystemNeed {
    fs::path path;  // one of the directories there, for messages
    std::uint64_t needed_bytes = 0;
    std::uint64_t free_bytes = 0;
    bool compresses = false;
};

constexpr std::uint64_t kZfsMagic = 0x2FC12FC1;

FileSystemNeed look_at_file_system(const fs::path& path) {
    struct statfs found {};
    if (::statfs(path.c_str(), &found) != 0)
        throw SystemError("can't look at the file system of " + path.string(), errno);
    const auto type = static_cast<std::uint64_t>(found.f_type);
    return {
        .path = path,
        .free_bytes = static_cast<std::uint64_t>(found.f_bavail) * static_cast<std::uint64_t>(found.f_bsize),
        .compresses = type == kZfsMagic || type == BTRFS_SUPER_MAGIC};
}

dev_t device_of(const fs::path& path) {
    struct stat status {};
    if (::stat(path.c_str(), &status) != 0) throw SystemError("can't look at " + path.string(), errno);
    return status.st_dev;
}

// Better now than after an hour. Where data gets compressed, nobody knows beforehand.
void check_free_space(const std::vector<std::unique_ptr<TargetDirectory>>& directories,
                      const BaseBackupStream& stream) {
    std::map<dev_t, FileSystemNeed> needs;
    const auto add = [&](const fs::path& path, std::uint64_t bytes) {
        auto [need, is_new] = needs.try_emplace(device_of(path));
        if (is_new) need->second = look_at_file_system(path);
        need->second.needed_bytes += bytes;
    };
    for (const auto& directory : directories) {
        add(directory->root_path(0), stream.main_bytes());
        for (std::size_t i = 0; i < stream.tablespaces().size(); ++i)
            add(directory->root_path(i + 1), stream.tablespaces()[i].bytes);
    }
    for (const auto& [device, need] : needs)
        if (need.needed_bytes > need.free_bytes && !need.compresses)
            throw SystemError(
                fmt::format("the file system of {} has {} free, but what is to be cloned there needs {}",
                            need.path.string(), format_bytes(need.free_bytes),
                            format_bytes(need.needed_bytes)),
                0, "free room there, or clone into another directory");
}

std::vector<std::unique_ptr<TargetDirectory>> prepare(const std::vector<CloneTarget>& targets,
                                                      const BaseBackupStream& stream, bool group_access) {
    std::vector<std::vector<fs::path>> tablespaces;
    for (const CloneTarget& target : targets)
        tablespaces.push_back(locate_tablespaces(target, stream.tablespaces()));
    check_places_apart(targets, tablespaces);

    std::vector<std::unique_ptr<TargetDirectory>> directories;
    for (std::size_t i = 0; i < targets.size(); ++i)
        directories.push_back(std::make_unique<TargetDirectory>(targets[i], tablespaces[i], group_access));
    check_free_space(directories, stream);
    return directories;
}

CloneResult receive(BaseBackupStream& stream, CloneFeed& feed, const CloneOptions& options) {
    BackupReceiver receiver{stream, feed, options.on_progress};
    try {
        const Lsn end = receiver.receive();
        return {.start = stream.start(),
                .end = end,
                .timeline = stream.timeline(),
                .bytes = receiver.received_bytes()};
    } catch (const ConnectionError& problem) {
        throw ConnectionError(
            problem.what(),
            "see to the server and the network, then run the same command again: it clears the "
            "unfinished clone first");
    }
}

}  // namespace

CloneResult clone(const Conninfo& source, const std::vector<CloneTarget>& targets,
                  const CloneOptions& options) {
    for (const CloneTarget& target : targets) check_data_directory_is_free(target);

    Connection connection{
        with_keepalives(source),
        {.replication = Replication::kPhysical, .name = options.name, .stop_fd = options.stop_fd}};
    check_version(connection);
    const bool group_access = has_group_access(connection);
    if (options.on_progress) options.on_progress(0, 0);
    BaseBackupStream stream{connection, options.label};

    CloneFeed feed{prepare(targets, stream, group_access), stream.total_bytes(), options.stop_fd};
    const CloneResult result = receive(stream, feed, options);
    feed.complete();
    if (options.on_progress) options.on_progress(result.bytes, result.bytes);
    return result;
}

}  // namespace pgcascade::postgres
