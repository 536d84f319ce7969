#include "postgres/target_directory.hpp"

#include <cstdlib>
#include <fstream>

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <pgcascade/error.hpp>

#include "postgres/data_directory.hpp"
#include "unit/temporary_directory.hpp"

namespace pgcascade::postgres {

namespace fs = std::filesystem;
using State = DataDirectory::State;

namespace {

class TargetDirectoryTest : public testing::TestWithParam<SyncMethod> {
  protected:
    TargetDirectoryTest() { target_.data_directory = base_ / "data"; }

    TargetDirectory open(bool group_access = false) const {
        return {target_, places_, group_access, GetParam()};
    }

    static void write_file(TargetDirectory& directory, std::size_t root, const std::string& path,
                           const std::string& content, mode_t mode = 0600) {
        directory.begin_file(root, path, mode, content.size());
        directory.write(content);
        directory.end_file();
    }

    // What every clone has, with a tablespace where there is a place for one.
    void fill(TargetDirectory& directory) const {
        if (!places_.empty()) {
            directory.make_directory(1, "PG_15", 0700);
            write_file(directory, 1, "PG_15/row", "in the tablespace");
        }
        write_file(directory, 0, "PG_VERSION", "15\n");
        directory.make_directory(0, "global", 0700);
        directory.make_directory(0, "pg_tblspc", 0700);
        if (!places_.empty()) directory.make_tablespace_link("pg_tblspc/16384", 0);
        write_file(directory, 0, "global/pg_control", "control file");
    }

    State state() const { return inspect_data_directory(target_.data_directory).state; }

    static mode_t mode_of(const fs::path& path) {
        struct stat status {};
        return ::stat(path.c_str(), &status) == 0 ? status.st_mode & 07777 : 0;
    }

    static std::string read(const fs::path& path) { return read_file(path); }

    const TemporaryDirectory temporary_;
    const fs::path base_ = temporary_.path();
    CloneTarget target_;
    std::vector<fs::path> places_;
};

}  // namespace

INSTANTIATE_TEST_SUITE_P(Sync, TargetDirectoryTest, testing::Values(SyncMethod::kFsync, SyncMethod::kSyncfs),
                         [](const auto& each) {
                             return each.param == SyncMethod::kFsync ? "Fsync" : "Syncfs";
                         });

TEST_P(TargetDirectoryTest, IsPartialFromTheFirstMomentUntilComplete) {
    EXPECT_EQ(state(), State::kMissing);
    TargetDirectory directory = open();
    EXPECT_EQ(state(), State::kPartialClone);
    fill(directory);
    directory.sync();
    EXPECT_EQ(state(), State::kPartialClone);
    EXPECT_FALSE(fs::exists(target_.data_directory / "global/pg_control"));
    directory.complete();
    EXPECT_EQ(state(), State::kCluster);
    EXPECT_EQ(read(target_.data_directory / "global/pg_control"), "control file");
    EXPECT_FALSE(fs::exists(target_.data_directory / kUnfinishedMarker));
}

TEST_P(TargetDirectoryTest, IsNeverCompleteWithoutAControlFile) {
    TargetDirectory directory = open();
    write_file(directory, 0, "PG_VERSION", "15\n");
    directory.make_directory(0, "global", 0700);
    EXPECT_THROW(directory.complete(), SystemError);
    EXPECT_EQ(state(), State::kPartialClone);
}

TEST_P(TargetDirectoryTest, WhatAnEarlierCloneLeftIsCleared) {
    places_ = {base_ / "space"};
    {
        TargetDirectory directory = open();
        fill(directory);
    }
    EXPECT_EQ(locate_tablespaces(target_, {{"16384", places_[0].string()}}), places_);
    TargetDirectory directory = open();
    EXPECT_FALSE(fs::exists(target_.data_directory / "PG_VERSION"));
    EXPECT_FALSE(fs::exists(places_[0] / "PG_15"));
    fill(directory);
    directory.sync();
    directory.complete();
    EXPECT_EQ(state(), State::kCluster);
    EXPECT_EQ(read(target_.data_directory / "pg_tblspc/16384/PG_15/row"), "in the tablespace");
    EXPECT_FALSE(fs::exists(places_[0] / kUnfinishedMarker));
}

TEST_P(TargetDirectoryTest, TwoAtOnceAreRefused) {
    const TargetDirectory first = open();
    EXPECT_THROW(open(), ConfigError);
    EXPECT_THROW(clear_partial(target_.data_directory), ConfigError);
    EXPECT_EQ(state(), State::kPartialClone);
}

TEST_P(TargetDirectoryTest, ModesFollowTheSourceWithinWhatItsDataDirectoryAllows) {
    {
        TargetDirectory directory = open();
        write_file(directory, 0, "table", "x", 0666);
        write_file(directory, 0, "script", "x", 04755);
        directory.make_directory(0, "folder", 0777);
        EXPECT_EQ(mode_of(target_.data_directory), 0700U);
        EXPECT_EQ(mode_of(target_.data_directory / "table"), 0600U);
        EXPECT_EQ(mode_of(target_.data_directory / "script"), 0700U);
        EXPECT_EQ(mode_of(target_.data_directory / "folder"), 0700U);
    }
    TargetDirectory directory = open(true);
    write_file(directory, 0, "table", "x", 0640);
    write_file(directory, 0, "server.key", "x", 0600);
    directory.make_directory(0, "folder", 0750);
    EXPECT_EQ(mode_of(target_.data_directory), 0750U);
    EXPECT_EQ(mode_of(target_.data_directory / "table"), 0640U);
    EXPECT_EQ(mode_of(target_.data_directory / "server.key"), 0600U);
    EXPECT_EQ(mode_of(target_.data_directory / "folder"), 0750U);
}

TEST_P(TargetDirectoryTest, NothingIsWrittenThroughALinkOrOverAFile) {
    fs::create_directory(base_ / "elsewhere");
    places_ = {base_ / "space"};
    TargetDirectory directory = open();
    fill(directory);
    EXPECT_THROW(write_file(directory, 0, "pg_tblspc/16384/x", "x"), SystemError);
    EXPECT_THROW(write_file(directory, 0, "PG_VERSION", "16\n"), SystemError);
    EXPECT_THROW(write_file(directory, 0, kUnfinishedMarker, "x"), SystemError);
    EXPECT_THROW(directory.make_directory(0, "global", 0700), SystemError);
    fs::create_symlink(base_ / "elsewhere" / "file", target_.data_directory / "planted");
    EXPECT_THROW(write_file(directory, 0, "planted", "x"), SystemError);
    fs::create_directory_symlink(base_ / "elsewhere", target_.data_directory / "folder");
    EXPECT_THROW(write_file(directory, 0, "folder/file", "x"), SystemError);
    EXPECT_TRUE(fs::is_empty(base_ / "elsewhere"));
    EXPECT_FALSE(fs::exists(places_[0] / "x"));
}

TEST_P(TargetDirectoryTest, DataDirectoryInUseIsRefused) {
    EXPECT_NO_THROW(check_data_directory_is_free(target_));
    fs::create_directory(target_.data_directory);
    EXPECT_NO_THROW(check_data_directory_is_free(target_));
    std::ofstream{target_.data_directory / "notes.txt"} << "mine";
    EXPECT_THROW(check_data_directory_is_free(target_), ConfigError);
    fs::remove(target_.data_directory / "notes.txt");
    {
        TargetDirectory directory = open();
        fill(directory);
        directory.complete();
    }
    EXPECT_THROW(check_data_directory_is_free(target_), ConfigError);
    EXPECT_THROW(check_data_directory_is_free({.data_directory = "relative"}), ConfigError);
}

TEST_P(TargetDirectoryTest, TablespaceNeedsAPlaceThatIsFree) {
    const fs::path space = base_ / "space";
    const std::vector<BackupTablespace> announced{{"16384", space.string()}};
    EXPECT_EQ(locate_tablespaces(target_, announced), std::vector{space});

    fs::create_directory(space);
    std::ofstream{space / "table"} << "of another server";
    try {
        locate_tablespaces(target_, announced);
        ADD_FAILURE() << "the place was taken";
    } catch (const ConfigError& problem) {
        EXPECT_NE(problem.hint().find("--tablespace-mapping " + space.string() + "="), std::string::npos);
    }
    CloneTarget mapped = target_;
    mapped.node = "eu";
    mapped.tablespaces[space.string() + "/"] = base_ / "other/";
    EXPECT_EQ(locate_tablespaces(mapped, announced), std::vector{base_ / "other"});
    mapped.tablespaces = {{space.string(), "relative"}};
    try {
        locate_tablespaces(mapped, announced);
        ADD_FAILURE() << "a relative place was taken";
    } catch (const ConfigError& problem) {
        EXPECT_NE(problem.hint().find("[node.eu.tablespaces] \"" + space.string() + "\" = "),
                  std::string::npos);
    }
    EXPECT_THROW(locate_tablespaces(target_, {{"16384", "pg_tblspc/16384"}}), ConfigError);
}

TEST_P(TargetDirectoryTest, PlaceLeftFromACloneIntoAnotherDataDirectoryIsNotFree) {
    places_ = {base_ / "space"};
    {
        TargetDirectory directory = open();
        fill(directory);
    }
    const CloneTarget other{.data_directory = base_ / "other"};
    EXPECT_THROW(locate_tablespaces(other, {{"16384", places_[0].string()}}), ConfigError);
    EXPECT_NO_THROW(locate_tablespaces(target_, {{"16384", places_[0].string()}}));
}

}  // namespace pgcascade::postgres
