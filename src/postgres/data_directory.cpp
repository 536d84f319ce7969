#include "postgres/data_directory.hpp"

#include <cerrno>
#include <charconv>
#include <cstring>
#include <optional>
#include <string>

#include <sys/stat.h>
#include <unistd.h>

#include <pgcascade/error.hpp>

#include "base/file.hpp"
#include "postgres/unfinished_marker.hpp"

namespace pgcascade::postgres {

namespace fs = std::filesystem;

namespace {

constexpr const char* kPermissionHint = "run pgcascade as the account that owns the directory, or as root";

[[noreturn]] void throw_unreadable(const fs::path& path, int error_number) {
    throw SystemError("can't read " + path.string(), error_number,
                      error_number == EACCES || error_number == EPERM ? kPermissionHint : "");
}

// Symbolic links are followed.
fs::file_type type_of(const fs::path& path) {
    std::error_code error;
    const fs::file_type type = fs::status(path, error).type();
    if (type == fs::file_type::none) throw_unreadable(path, error.value());
    return type;
}

bool is_there(const fs::path& path) {
    return type_of(path) != fs::file_type::not_found;
}

bool holds_nothing(const fs::path& directory) {
    std::error_code error;
    fs::directory_iterator entries{directory, error};
    if (error) throw_unreadable(directory, error.value());
    for (const fs::directory_iterator end; entries != end; entries.increment(error)) {
        if (error) throw_unreadable(directory, error.value());
        if (!is_lost_and_found(entries->path())) return false;
    }
    return true;
}

std::optional<std::string> read_if_regular(const fs::path& path) {
    if (type_of(path) != fs::file_type::regular) return std::nullopt;
    try {
        return read_file(path);
    } catch (const SystemError& problem) {
        throw_unreadable(path, problem.error_number());
    }
}

// "15\n"; nothing where it is not one number.
std::optional<int> parse_major_version(const std::string& text) {
    int version = 0;
    const char* end = text.data() + text.size();
    const auto [rest, error] = std::from_chars(text.data(), end, version);
    if (error != std::errc{} || version <= 0) return std::nullopt;
    if (rest != end && std::string_view{rest, end} != "\n") return std::nullopt;
    return version;
}

// ControlFileData (catalog/pg_control.h): uint64 system_identifier, in the server's own byte order | …
std::optional<std::uint64_t> parse_system_identifier(const std::string& control_file) {
    std::uint64_t identifier = 0;
    if (control_file.size() < sizeof identifier) return std::nullopt;
    std::memcpy(&identifier, control_file.data(), sizeof identifier);
    return identifier;
}

}  // namespace

DataDirectory inspect_data_directory(const fs::path& path) {
    using State = DataDirectory::State;
    const fs::file_type type = type_of(path);
    if (type == fs::file_type::not_found) return {.state = State::kMissing};
    if (type != fs::file_type::directory) return {.state = State::kForeign};
    if (is_there(path / kUnfinishedMarker)) return {.state = State::kPartialClone};
    if (holds_nothing(path)) return {.state = State::kEmpty};

    const auto version_file = read_if_regular(path / "PG_VERSION");
    const auto version = version_file ? parse_major_version(*version_file) : std::nullopt;
    if (!version) return {.state = State::kForeign};
    const auto control_file = read_if_regular(path / "global" / "pg_control");
    const auto identifier = control_file ? parse_system_identifier(*control_file) : std::nullopt;
    if (!identifier) return {.state = State::kForeign};
    return {.state = State::kCluster,
            .major_version = *version,
            .system_identifier = *identifier,
            .is_standby = is_there(path / "standby.signal")};
}

static void make_missing(const fs::path& path) {
    if (path.empty() || is_there(path)) return;
    make_missing(path.parent_path());
    if (::mkdir(path.c_str(), 0755) != 0 && errno != EEXIST)
        throw SystemError("can't make the directory " + path.string(), errno);
    // Whatever the umask: other nodes' accounts may have to pass.
    if (::chmod(path.c_str(), 0755) != 0) throw SystemError("can't set the mode of " + path.string(), errno);
    fsync_directory(path.parent_path());
}

void make_data_directory(const fs::path& path, std::optional<FileOwner> owner) {
    make_missing(path.has_filename() ? path : path.parent_path());
    // PostgreSQL starts on 0700 and 0750 only.
    if (::chmod(path.c_str(), 0700) != 0) throw SystemError("can't set the mode of " + path.string(), errno);
    if (owner && ::chown(path.c_str(), owner->user, owner->group) != 0)
        throw SystemError("can't give away " + path.string(), errno);
}

bool is_lost_and_found(const fs::path& entry) {
    return entry.filename() == "lost+found";
}

void clear_partial(const fs::path& path) {
    if (inspect_data_directory(path).state != DataDirectory::State::kPartialClone)
        throw ConfigError(path.string() + " is not an unfinished clone of pgcascade: nothing is removed");
    UnfinishedMarker marker = UnfinishedMarker::take(path);
    marker.clear_rest();
    marker.remove();
}

}  // namespace pgcascade::postgres
