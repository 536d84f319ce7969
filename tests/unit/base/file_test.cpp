#include "base/file.hpp"

#include <cerrno>
#include <filesystem>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <pgcascade/error.hpp>

#include "unit/temporary_directory.hpp"

namespace pgcascade {

namespace fs = std::filesystem;

class File : public testing::Test {
  protected:
    const TemporaryDirectory temporary_;
    const fs::path directory_ = temporary_.path();
};

TEST_F(File, DurableWriteReplacesTheWholeFile) {
    const fs::path path = directory_ / "settings";
    write_file_durably(path, "old and longer\n", 0644);
    write_file_durably(path, "new\n", 0600);
    EXPECT_EQ(read_file(path), "new\n");
    struct stat status {};
    ASSERT_EQ(::stat(path.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0600U);
    EXPECT_EQ(std::distance(fs::directory_iterator{directory_}, {}), 1);
}

TEST_F(File, DurableWriteNeverFollowsALeftOverLink) {
    const fs::path victim = directory_ / "victim";
    write_file_durably(victim, "precious", 0600);
    fs::create_symlink(victim, directory_ / "settings.tmp");
    write_file_durably(directory_ / "settings", "new", 0600);
    EXPECT_EQ(read_file(victim), "precious");
    EXPECT_EQ(read_file(directory_ / "settings"), "new");
}

TEST_F(File, MissingFileIsNamedInTheError) {
    try {
        read_file(directory_ / "nowhere");
        FAIL() << "no error";
    } catch (const SystemError& error) {
        EXPECT_EQ(error.error_number(), ENOENT);
        EXPECT_NE(std::string{error.what()}.find("nowhere"), std::string::npos);
    }
}

TEST_F(File, FullDiskIsAnError) {
    const FileDescriptor full{::open("/dev/full", O_WRONLY | O_CLOEXEC)};
    ASSERT_TRUE(full);
    try {
        write_all(full.get(), "x", "/dev/full");
        FAIL() << "no error";
    } catch (const SystemError& error) {
        EXPECT_EQ(error.error_number(), ENOSPC);
    }
}

}  // namespace pgcascade
