#include "postgres/installation.hpp"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <optional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <pgcascade/error.hpp>

#include "unit/temporary_directory.hpp"

namespace pgcascade::postgres {

namespace fs = std::filesystem;
using testing::HasSubstr;

namespace {

class SetVariable {
  public:
    SetVariable(const char* name, const std::string& value) : name_(name) {
        if (const char* before = std::getenv(name)) before_ = before;
        ::setenv(name, value.c_str(), 1);
    }
    ~SetVariable() {
        if (before_)
            ::setenv(name_, before_->c_str(), 1);
        else
            ::unsetenv(name_);
    }
    SetVariable(const SetVariable&) = delete;
    SetVariable& operator=(const SetVariable&) = delete;

  private:
    const char* name_;
    std::optional<std::string> before_;
};

// Programs that only know their version.
class InstallationTest : public testing::Test {
  protected:
    fs::path install(const fs::path& bin, const std::string& version) const {
        fs::create_directories(root_ / bin);
        for (const char* program : {"initdb", "pg_ctl", "postgres"}) {
            std::ofstream{root_ / bin / program} << "#!/bin/sh\necho '" << program << " (PostgreSQL) "
                                                 << version << "'\n";
            fs::permissions(root_ / bin / program, fs::perms::owner_all);
        }
        return root_ / bin;
    }

    const TemporaryDirectory temporary_;
    const fs::path root_ = temporary_.path();
};

std::vector<std::string> versions_below(const fs::path& root) {
    std::vector<std::string> versions;
    for (const Installation& one : find_installations())
        if (one.bin_directory.string().starts_with(root.string())) versions.push_back(one.version);
    return versions;
}

}  // namespace

TEST_F(InstallationTest, NewestOfPathComesFirstAndTenIsNewerThanNine) {
    const auto path = install("a", "90.9").string() +
                      ":/nowhere::" + install("b", "90.10 (Debian 90.10-1)").string() + ":" +
                      install("c", "91beta1").string() + ":" + (root_ / "a").string();
    const SetVariable variable{"PATH", path};
    EXPECT_THAT(versions_below(root_), testing::ElementsAre("91beta1", "90.10", "90.9"));
    EXPECT_EQ(newest_installation(16).version, "91beta1");
    EXPECT_EQ(installation_of(90).version, "90.10");
}

TEST_F(InstallationTest, DirectoryThatPointsAtOthersCountsOnce) {
    const fs::path real = install("real", "90.1");
    fs::create_directory(root_ / "links");
    for (const char* program : {"initdb", "pg_ctl", "postgres"})
        fs::create_symlink(real / program, root_ / "links" / program);
    const SetVariable variable{"PATH", (root_ / "links").string() + ":" + real.string()};
    EXPECT_THAT(versions_below(root_), testing::ElementsAre("90.1"));
    EXPECT_EQ(installation_of(90).bin_directory, real);
}

TEST_F(InstallationTest, ClientProgramsAloneDoNotCount) {
    const fs::path bin = install("bin", "90.1");
    fs::remove(bin / "initdb");
    const SetVariable variable{"PATH", bin.string()};
    EXPECT_TRUE(versions_below(root_).empty());
}

TEST_F(InstallationTest, ChosenDirectoryGoesBeforeNewerOnes) {
    const SetVariable path{"PATH", install("newer", "91.1").string()};
    const SetVariable chosen{"PGCASCADE_BINDIR", install("chosen", "90.1").string()};
    EXPECT_EQ(newest_installation(16).version, "90.1");
    EXPECT_EQ(newest_installation(91).version, "91.1");
}

TEST_F(InstallationTest, PlacesOfScriptsSetupAreSearched) {
    const SetVariable home{"XDG_DATA_HOME", root_.string()};
    install("pgcascade/postgres/90/bin", "90.1");
    EXPECT_THAT(versions_below(root_), testing::ElementsAre("90.1"));
}

TEST_F(InstallationTest, ChosenDirectoryWithoutServerIsAnError) {
    const SetVariable chosen{"PGCASCADE_BINDIR", root_.string()};
    EXPECT_THROW(find_installations(), ConfigError);
}

TEST_F(InstallationTest, MissingVersionNamesWhatWasSearched) {
    try {
        installation_of(99);
        FAIL() << "no error";
    } catch (const ConfigError& error) {
        EXPECT_THAT(error.what(), HasSubstr("PostgreSQL 99"));
        EXPECT_THAT(error.what(), HasSubstr("/usr/lib/postgresql/*/bin"));
        EXPECT_THAT(error.hint(), HasSubstr("PGCASCADE_BINDIR"));
    }
}

}  // namespace pgcascade::postgres
