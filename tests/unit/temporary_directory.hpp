#pragma once

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <string>

#include <pgcascade/error.hpp>

namespace pgcascade {

// A directory of its own for a test, removed with all that is in it.
class TemporaryDirectory {
  public:
    TemporaryDirectory() {
        std::string pattern = (std::filesystem::temp_directory_path() / "pgcascade-test-XXXXXX").string();
        if (::mkdtemp(pattern.data()) == nullptr)
            throw SystemError("can't make a directory for a test", errno);
        path_ = pattern;
    }
    TemporaryDirectory(const TemporaryDirectory&) = delete;
    TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
    ~TemporaryDirectory() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }

    const std::filesystem::path& path() const { return path_; }

  private:
    std::filesystem::path path_;
};

}  // namespace pgcascade
