#include "stream/output.hpp"

#include <cstdlib>
#include <filesystem>
#include <thread>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <pgcascade/error.hpp>

namespace pgcascade {
namespace {

using ::testing::HasSubstr;

struct Pipe {
    Pipe() {
        int fds[2];
        if (::pipe2(fds, O_CLOEXEC) != 0) std::abort();
        reading = FileDescriptor{fds[0]};
        writing = FileDescriptor{fds[1]};
    }
    FileDescriptor reading;
    FileDescriptor writing;
};

class OutputFile : public ::testing::Test {
  protected:
    OutputFile() {
        std::string name = "/tmp/pgcascade-output-XXXXXX";
        if (::mkdtemp(name.data()) == nullptr) std::abort();
        directory_ = name;
    }
    ~OutputFile() override { std::filesystem::remove_all(directory_); }

    std::filesystem::path path() const { return directory_ / "changes.json"; }
    Output open() {
        return Output::append_to(path(), /*stop_fd=*/-1,
                                 [this](const std::string& text) { notices_ += text; });
    }
    void write_file(std::string_view content) const {
        const FileDescriptor fd{::open(path().c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)};
        write_all(fd.get(), content, path());
    }

    std::filesystem::path directory_;
    std::string notices_;
};

TEST_F(OutputFile, IsContinuedByTheNextRun) {
    for (const char* line : {"{\"a\":1}\n", "{\"a\":2}\n"}) {
        Output output = open();
        output.buffer() += line;
        output.write();
        EXPECT_TRUE(output.needs_sync());
        output.sync();
        EXPECT_FALSE(output.needs_sync());
    }
    EXPECT_EQ(read_file(path()), "{\"a\":1}\n{\"a\":2}\n");
    EXPECT_EQ(notices_, "");
}

TEST_F(OutputFile, TornTailIsCutOff) {
    const std::string whole = "{\"a\":1}\n{\"a\":2}\n";
    const std::string torn = "{\"a\":\"" + std::string(200'000, 'x');
    for (const std::string& kept : {whole, std::string{}}) {
        notices_.clear();
        write_file(kept + torn);
        open();
        EXPECT_EQ(read_file(path()), kept);
        EXPECT_THAT(notices_, HasSubstr("200006 bytes"));
    }
}

TEST_F(OutputFile, WhatNoStreamHasWrittenIsLeftAlone) {
    write_file("#!/bin/sh\nexit 0");
    EXPECT_THROW(open(), ConfigError);
    EXPECT_EQ(read_file(path()), "#!/bin/sh\nexit 0");
}

TEST_F(OutputFile, TwoRunsNeverShareOne) {
    const Output first = open();
    try {
        open();
        FAIL() << "the second one got it too";
    } catch (const SystemError& problem) {
        EXPECT_THAT(problem.what(), HasSubstr("being written by another pgcascade"));
    }
}

TEST_F(OutputFile, ADirectoryThatIsMissingIsNamed) {
    try {
        Output::append_to(directory_ / "no/such/file", -1, nullptr);
        FAIL();
    } catch (const SystemError& problem) {
        EXPECT_THAT(problem.what(), HasSubstr("no/such/file"));
    }
}

TEST(OutputPipe, AClosedReaderIsAnError) {
    ASSERT_NE(::signal(SIGPIPE, SIG_IGN), SIG_ERR);
    Pipe pipe;
    pipe.reading.reset();
    Output output{pipe.writing.get(), "standard output", -1};
    output.buffer() += "{}\n";
    try {
        output.write();
        FAIL() << "it was written";
    } catch (const SystemError& problem) {
        EXPECT_EQ(problem.error_number(), EPIPE);
        EXPECT_EQ(output.written(), 0U);
    }
}

TEST(OutputPipe, AStopEndsTheWaitForASlowReader) {
    const Pipe pipe;
    const Pipe stop;
    Output output{pipe.writing.get(), "standard output", stop.reading.get()};
    const std::string bytes(1'000'000, 'x');
    output.buffer() += bytes;
    write_all(stop.writing.get(), "x", "stop");
    EXPECT_THROW(output.write(), Stopped);
    // What the pipe still took is counted, and the rest is still there.
    EXPECT_GT(output.written(), 0U);
    EXPECT_EQ(output.written() + output.buffer().size(), bytes.size());
}

TEST(OutputPipe, ASlowReaderGetsEverything) {
    Pipe pipe;
    std::string expected;
    for (int i = 0; expected.size() < 500'000; ++i) expected += "{\"number\":" + std::to_string(i) + "}\n";
    std::string got;
    std::thread reader{[&] {
        char bytes[7'000];
        for (ssize_t count = 0; (count = ::read(pipe.reading.get(), bytes, sizeof bytes)) > 0;)
            got.append(bytes, static_cast<std::size_t>(count));
    }};
    Output output{pipe.writing.get(), "standard output", -1};
    output.buffer() += expected;
    output.write();
    EXPECT_FALSE(output.needs_sync());
    pipe.writing.reset();
    reader.join();
    EXPECT_EQ(got, expected);
}

}  // namespace
}  // namespace pgcascade
