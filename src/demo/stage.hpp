#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "tree/cascade_file.hpp"

// Where the demo plays: a directory of its own, and in it the cascade files of seven servers and a relay, and
// of a server that subscribes to that.

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

// Writes cascade.toml: primary -> hub, eu and us -> hub-1, eu-1, eu-2, us-1, on ports that nobody uses; hub
// is a relay of WAL. Returns what it says, by the same reader as everybody's.
tree::Cascade write_shop_cascade(const std::filesystem::path& directory);

// Adds the shop's publication to the file, as a feed of the relay: it can't be fetched before it is there.
tree::Cascade add_feed(const tree::Cascade& cascade, const std::string& database,
                       const std::string& publication);

// Writes subscriber.toml: a primary of its own, beside the others.
tree::Cascade write_subscriber_cascade(const tree::Cascade& shop);

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
