#include "postgres/data_directory.hpp"

#include <fstream>

#include <gtest/gtest.h>

#include <pgcascade/error.hpp>

#include "unit/temporary_directory.hpp"

namespace pgcascade::postgres {

namespace fs = std::filesystem;
using State = DataDirectory::State;

namespace {

class DataDirectoryTest : public testing::Test {
  protected:
    void write(const fs::path& name, const std::string& content) const {
        fs::create_directories((path_ / name).parent_path());
        std::ofstream{path_ / name, std::ios::binary} << content;
    }

    void make_cluster() const {
        write("PG_VERSION", "15\n");
        const std::uint64_t identifier = 7'123'456'789'012'345'678;
        write("global/pg_control",
              std::string{reinterpret_cast<const char*>(&identifier), sizeof identifier} + "rest");
    }

    State state() const { return inspect_data_directory(path_).state; }

    const TemporaryDirectory temporary_;
    const fs::path path_ = temporary_.path();
};

}  // namespace

TEST_F(DataDirectoryTest, MissingAndEmptyAreTold) {
    EXPECT_EQ(inspect_data_directory(path_ / "nothing").state, State::kMissing);
    EXPECT_EQ(state(), State::kEmpty);
    fs::create_directory(path_ / "lost+found");
    EXPECT_EQ(state(), State::kEmpty);
}

TEST_F(DataDirectoryTest, ClusterTellsVersionAndSystemIdentifier) {
    make_cluster();
    DataDirectory found = inspect_data_directory(path_);
    EXPECT_EQ(found.state, State::kCluster);
    EXPECT_EQ(found.major_version, 15);
    EXPECT_EQ(found.system_identifier, 7'123'456'789'012'345'678);
    EXPECT_FALSE(found.is_standby);
    write("standby.signal", "");
    EXPECT_TRUE(inspect_data_directory(path_).is_standby);
}

TEST_F(DataDirectoryTest, LinkToAClusterIsACluster) {
    make_cluster();
    const fs::path link = path_.string() + ".link";
    fs::create_directory_symlink(path_, link);
    EXPECT_EQ(inspect_data_directory(link).state, State::kCluster);
    fs::remove(link);
}

TEST_F(DataDirectoryTest, WhatIsNoWholeClusterIsForeign) {
    write("notes.txt", "mine");
    EXPECT_EQ(state(), State::kForeign);
    write("PG_VERSION", "15\n");
    EXPECT_EQ(state(), State::kForeign);
    write("global/pg_control", "short");
    EXPECT_EQ(state(), State::kForeign);
    write("global/pg_control", "long enough");
    EXPECT_EQ(state(), State::kCluster);
    for (const char* version : {"", "x", "15x", "-1", "15\n\n", "0"}) {
        write("PG_VERSION", version);
        EXPECT_EQ(state(), State::kForeign) << version;
    }
    EXPECT_EQ(inspect_data_directory(path_ / "notes.txt").state, State::kForeign);
}

TEST_F(DataDirectoryTest, MarkerMakesAnythingAPartialClone) {
    make_cluster();
    write(kUnfinishedMarker, "");
    EXPECT_EQ(state(), State::kPartialClone);
}

TEST_F(DataDirectoryTest, ClearingRemovesAllButTheDirectoryAndWhatLinksPointTo) {
    const fs::path elsewhere = path_.string() + ".elsewhere";
    fs::create_directory(elsewhere);
    std::ofstream{elsewhere / "kept"} << "kept";
    make_cluster();
    write("base/5/1234", "row");
    write(kUnfinishedMarker, "");
    fs::create_directory_symlink(elsewhere, path_ / "link");
    clear_partial(path_);
    EXPECT_EQ(state(), State::kEmpty);
    EXPECT_TRUE(fs::is_empty(path_));
    EXPECT_TRUE(fs::exists(elsewhere / "kept"));
    fs::remove_all(elsewhere);
}

TEST_F(DataDirectoryTest, ClearingTouchesNothingThatIsNotOurs) {
    EXPECT_THROW(clear_partial(path_), ConfigError);
    make_cluster();
    EXPECT_THROW(clear_partial(path_), ConfigError);
    write("PG_VERSION", "");
    EXPECT_THROW(clear_partial(path_), ConfigError);
    EXPECT_TRUE(fs::exists(path_ / "global/pg_control"));
    EXPECT_THROW(clear_partial(path_ / "nothing"), ConfigError);
}

}  // namespace pgcascade::postgres
