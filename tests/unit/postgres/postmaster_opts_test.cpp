#include "postgres/postmaster_opts.hpp"

#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "unit/temporary_directory.hpp"

namespace pgcascade::postgres {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class PostmasterOptsTest : public testing::Test {
  protected:
    std::vector<std::string> options(const std::string& line) const {
        std::ofstream{path_ / "postmaster.opts"} << line;
        return options_of_last_start(path_);
    }

    const TemporaryDirectory temporary_;
    const std::filesystem::path path_ = temporary_.path();
};

TEST_F(PostmasterOptsTest, ServerThatWasNeverStartedHasNone) {
    EXPECT_THAT(options_of_last_start(path_), IsEmpty());
}

TEST_F(PostmasterOptsTest, DirectoryIsLeftOutHoweverItIsWritten) {
    EXPECT_THAT(options("/usr/bin/postgres \"-D\" \"/a b\" \"-c\" \"x=y z\"\n"), ElementsAre("-c", "x=y z"));
    EXPECT_THAT(options("/usr/bin/postgres \"-i\" \"-D/a\"\n"), ElementsAre("-i"));
    EXPECT_THAT(options("/usr/bin/postgres\n"), IsEmpty());
}

TEST_F(PostmasterOptsTest, WhatIsCutOffIsNoOption) {
    EXPECT_THAT(options("/usr/bin/postgres \"-c\" \"x="), ElementsAre("-c"));
    EXPECT_THAT(options("/usr/bin/postgres \"-D"), IsEmpty());
    EXPECT_THAT(options("/usr/bin/postgres \"-D\""), IsEmpty());
    EXPECT_THAT(options(""), IsEmpty());
}

TEST_F(PostmasterOptsTest, OnlyLocationsOutliveAStop) {
    EXPECT_THAT(
        locations_of_files({"-c", "config_file=/etc/pg/x.conf", "-c", "fsync=off", "-b", "-p", "5433"}),
        ElementsAre("-c", "config_file=/etc/pg/x.conf"));
    EXPECT_THAT(locations_of_files({"-chba_file=/a", "--ident-file=/b", "--cluster-name=x", "-i", "-c"}),
                ElementsAre("-chba_file=/a", "--ident-file=/b"));
}

}  // namespace
}  // namespace pgcascade::postgres
