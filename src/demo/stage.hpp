#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "tree/cascade_file.hpp"

// Where the demo plays: a directory of its own, and in it the cascade file of six servers.

namespace pgcascade::demo {

// Made here and removed with everything in it at the end, unless it is to stay. A directory that was there
// before, empty, stays too, empty again.
class StageDirectory {
  public:
    // Nothing: a new one in TMPDIR, or, where the servers' account can't reach that, in /tmp or /var/tmp.
    // Throws ConfigError where it is not empty or can't be reached.
    explicit StageDirectory(const std::optional<std::filesystem::path>& wanted);
    ~StageDirectory();
    StageDirectory(const StageDirectory&) = delete;
    StageDirectory& operator=(const StageDirectory&) = delete;

    const std::filesystem::path& path() const { return path_; }
    void keep() { is_kept_ = true; }

  private:
    std::filesystem::path path_;
    bool was_there_ = false;
    bool is_kept_ = false;
};

// As an argument of a command line that a person copies into a shell.
std::string shell_quoted(const std::string& text);

// Writes cascade.toml: primary -> eu and us -> eu-1, eu-2, us-1, on ports that nobody uses. Returns what it
// says, by the same reader as everybody's.
tree::Cascade write_shop_cascade(const std::filesystem::path& directory);

// Sees to it that no server of the cascade is left running when the scope is left, however that happens.
class ServersOnStage {
  public:
    explicit ServersOnStage(const tree::Cascade& cascade) : cascade_(&cascade) {}
    ~ServersOnStage();
    ServersOnStage(const ServersOnStage&) = delete;
    ServersOnStage& operator=(const ServersOnStage&) = delete;

    void keep() { cascade_ = nullptr; }

  private:
    const tree::Cascade* cascade_;
};

}  // namespace pgcascade::demo
