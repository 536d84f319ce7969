#include "postgres/clone_feed.hpp"

#include <cstdlib>
#include <fstream>

#include <gtest/gtest.h>
#include <sys/eventfd.h>

#include <pgcascade/error.hpp>

#include "postgres/data_directory.hpp"
#include "unit/temporary_directory.hpp"

namespace pgcascade::postgres {

namespace fs = std::filesystem;
using State = DataDirectory::State;

namespace {

class CloneFeedTest : public testing::Test {
  protected:
    CloneFeedTest() {
        for (const char* target : {"a", "b", "c"}) targets_.push_back({.data_directory = base_ / target});
    }

    std::unique_ptr<CloneFeed> open(int stop_fd = -1) const {
        std::vector<std::unique_ptr<TargetDirectory>> directories;
        for (const CloneTarget& target : targets_)
            directories.push_back(std::make_unique<TargetDirectory>(target, std::vector<fs::path>{}, false));
        return std::make_unique<CloneFeed>(std::move(directories), kTotal, stop_fd);
    }

    static void write_file(CloneFeed& feed, const std::string& path, std::string_view content) {
        feed.begin_file(0, path, 0600, content.size());
        feed.write(content);
        feed.end_file();
    }

    static void write_control_file(CloneFeed& feed) {
        write_file(feed, "PG_VERSION", "15\n");
        feed.make_directory(0, "global", 0700);
        write_file(feed, "global/pg_control", "control file");
    }

    State state(std::size_t target) const {
        return inspect_data_directory(targets_[target].data_directory).state;
    }

    static constexpr std::uint64_t kTotal = 12'000'000;

    const TemporaryDirectory temporary_;
    const fs::path base_ = temporary_.path();
    std::vector<CloneTarget> targets_;
};

std::string bytes_from(std::size_t seed, std::size_t size) {
    std::string bytes(size, '\0');
    for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>((seed + i) * 2654435761U >> 24);
    return bytes;
}

}  // namespace

TEST_F(CloneFeedTest, EveryTargetGetsTheSameFiles) {
    const std::size_t sizes[] = {0,    1, 8192, 100'000, 300'000, 1 << 20, (3 << 20) + 8192, (5 << 20) + 17,
                                 4096, 12};
    const auto feed = open();
    write_control_file(*feed);
    for (std::size_t i = 0; i < std::size(sizes); ++i)
        write_file(*feed, "file" + std::to_string(i), bytes_from(i, sizes[i]));
    feed->complete();
    for (std::size_t target = 0; target < targets_.size(); ++target) {
        EXPECT_EQ(state(target), State::kCluster);
        for (std::size_t i = 0; i < std::size(sizes); ++i) {
            const fs::path file = targets_[target].data_directory / ("file" + std::to_string(i));
            EXPECT_EQ(read_file(file), bytes_from(i, sizes[i])) << file;
        }
    }
}

TEST_F(CloneFeedTest, MoreFilesThanABatchHoldsStepsArrive) {
    const auto feed = open();
    write_control_file(*feed);
    const auto content = [](std::size_t i) { return i % 100 == 0 ? std::to_string(i) : std::string{}; };
    for (std::size_t i = 0; i < CloneBatch::kSteps; ++i) write_file(*feed, std::to_string(i), content(i));
    feed->complete();
    for (std::size_t i = 0; i < CloneBatch::kSteps; ++i)
        ASSERT_EQ(read_file(targets_[1].data_directory / std::to_string(i)), content(i));
}

TEST_F(CloneFeedTest, TargetThatFailsIsLeftOutAndTheOthersAreFinished) {
    const auto feed = open();
    fs::create_directory(targets_[1].data_directory / "global");  // in the way
    write_control_file(*feed);
    const std::string large = bytes_from(1, 12'000'000);
    write_file(*feed, "large", large);
    try {
        feed->complete();
        ADD_FAILURE() << "one target must have failed";
    } catch (const SystemError& problem) {
        const std::string what = problem.what();
        EXPECT_NE(what.find("the clone into " + (base_ / "b").string() + " failed"), std::string::npos)
            << what;
        EXPECT_NE(what.find("whole are: " + (base_ / "a").string() + " " + (base_ / "c").string()),
                  std::string::npos)
            << what;
        EXPECT_FALSE(problem.hint().empty());
    }
    EXPECT_EQ(state(0), State::kCluster);
    EXPECT_EQ(state(1), State::kPartialClone);
    EXPECT_EQ(state(2), State::kCluster);
    EXPECT_EQ(read_file(targets_[2].data_directory / "large"), large);
}

TEST_F(CloneFeedTest, EndsEarlyOnceNoTargetIsLeft) {
    const auto feed = open();
    for (const CloneTarget& target : targets_) fs::create_directory(target.data_directory / "global");
    write_control_file(*feed);
    const std::string large = bytes_from(1, 1 << 20);
    EXPECT_THROW(
        {
            for (int i = 0; i < 10'000; ++i) write_file(*feed, "large" + std::to_string(i), large);
        },
        SystemError);
}

TEST_F(CloneFeedTest, AbandonedFeedLeavesPartialTargetsAndNoLock) {
    {
        const auto feed = open();
        write_control_file(*feed);
        write_file(*feed, "large", bytes_from(1, 20'000'000));
    }
    for (std::size_t target = 0; target < targets_.size(); ++target)
        EXPECT_EQ(state(target), State::kPartialClone);
    const auto feed = open();
    write_control_file(*feed);
    feed->complete();
    EXPECT_EQ(state(0), State::kCluster);
}

TEST_F(CloneFeedTest, StopRequestEndsItAtTheNextBatch) {
    const FileDescriptor stop{::eventfd(1, EFD_CLOEXEC)};
    const auto feed = open(stop.get());
    EXPECT_THROW(write_control_file(*feed), Stopped);
    EXPECT_EQ(state(0), State::kPartialClone);
}

}  // namespace pgcascade::postgres
