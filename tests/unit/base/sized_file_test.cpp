#include "base/sized_file.hpp"

#include <csignal>
#include <cstdlib>
#include <memory>
#include <string>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <pgcascade/error.hpp>

#include "unit/temporary_directory.hpp"

namespace pgcascade {

namespace fs = std::filesystem;

namespace {

class SizedFileTest : public testing::Test {
  protected:
    SizedFile make(std::uint64_t bytes) const {
        return SizedFile{
            FileDescriptor{::open(path().c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600)}, bytes,
            path()};
    }

    fs::path path() const { return temporary_.path() / "file"; }

    const TemporaryDirectory temporary_;
};

struct AlignedMemory {
    explicit AlignedMemory(std::size_t size)
        : bytes(static_cast<char*>(std::aligned_alloc(SizedFile::kAlignment, size)), std::free) {
        for (std::size_t i = 0; i < size; ++i) bytes.get()[i] = static_cast<char>(i * 7 + i / 4096);
    }
    std::unique_ptr<char, decltype(&std::free)> bytes;
};

constexpr std::size_t kLarge = 1024 * 1024;

}  // namespace

TEST_F(SizedFileTest, HoldsWhatWasWrittenWhateverItsSize) {
    const AlignedMemory memory{kLarge};
    for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{4096}, std::size_t{8192},
                                   kLarge / 2 + 1, kLarge - 1, kLarge}) {
        fs::remove(path());
        const std::string_view content{memory.bytes.get(), size};
        make(size).write(content);
        EXPECT_EQ(read_file(path()), content) << size;
    }
}

TEST_F(SizedFileTest, TakesPiecesThatAreNotAligned) {
    const AlignedMemory memory{kLarge};
    const std::string_view content{memory.bytes.get(), kLarge};
    SizedFile file = make(kLarge);
    file.write(content.substr(0, 4096 * 3));
    file.write(content.substr(4096 * 3, 5));
    file.write(content.substr(4096 * 3 + 5, 4096 * 100));
    file.write(content.substr(4096 * 103 + 5));
    EXPECT_EQ(read_file(path()), content);
}

TEST_F(SizedFileTest, LargeFileHasItsRoomBeforeItIsWritten) {
    const SizedFile file = make(kLarge);
    struct stat status {};
    ASSERT_EQ(::fstat(file.fd(), &status), 0);
    EXPECT_EQ(static_cast<std::size_t>(status.st_size), kLarge);
}

TEST_F(SizedFileTest, NoRoomIsAnErrorThatNamesTheFile) {
    rlimit before{};
    ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
    const rlimit small{.rlim_cur = kLarge / 2, .rlim_max = before.rlim_max};
    const auto handler = ::signal(SIGXFSZ, SIG_IGN);
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
    try {
        make(kLarge);
        ADD_FAILURE() << "there was room";
    } catch (const SystemError& problem) {
        EXPECT_EQ(problem.error_number(), EFBIG);
        EXPECT_NE(std::string{problem.what()}.find(path().string()), std::string::npos);
    }
    ::setrlimit(RLIMIT_FSIZE, &before);
    ::signal(SIGXFSZ, handler);
}

}  // namespace pgcascade
