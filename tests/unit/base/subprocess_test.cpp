#include "base/subprocess.hpp"

#include <cerrno>
#include <csignal>

#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <pgcascade/error.hpp>

namespace pgcascade {

TEST(Subprocess, GivesOutputOfBothStreamsAndStatus) {
    const CommandResult result = run({.arguments = {"sh", "-c", "echo out; echo err >&2; exit 3"},
                                      .account = std::nullopt,
                                      .directory = {},
                                      .input = {}});
    EXPECT_EQ(result.exit_status, 3);
    EXPECT_EQ(result.output, "out\nerr\n");
}

TEST(Subprocess, InputLongerThanAPipeArrives) {
    const CommandResult result = run({.arguments = {"wc", "-c"},
                                      .account = std::nullopt,
                                      .directory = {},
                                      .input = std::string(1 << 20, 'x')});
    EXPECT_EQ(std::stol(result.output), 1 << 20);
}

TEST(Subprocess, OutputLongerThanAPipeArrives) {
    const CommandResult result = run({.arguments = {"sh", "-c", "head -c 1000000 /dev/zero"},
                                      .account = std::nullopt,
                                      .directory = {},
                                      .input = {}});
    EXPECT_EQ(result.output.size(), 1'000'000U);
}

TEST(Subprocess, SignalReadsAsInAShell) {
    const CommandResult result =
        run({.arguments = {"sh", "-c", "kill -9 $$"}, .account = std::nullopt, .directory = {}, .input = {}});
    EXPECT_EQ(result.exit_status, 128 + 9);
}

TEST(Subprocess, ProgramThatIsNotThereIsAnError) {
    try {
        run({.arguments = {"/nowhere/initdb"}, .account = std::nullopt, .directory = {}, .input = {}});
        FAIL() << "no error";
    } catch (const SystemError& error) {
        EXPECT_EQ(error.error_number(), ENOENT);
        EXPECT_NE(std::string{error.what()}.find("/nowhere/initdb"), std::string::npos);
    }
}

TEST(Subprocess, GrandchildThatKeepsTheOutputOpenDoesNotDelayTheReturn) {
    const CommandResult result = run({.arguments = {"sh", "-c", "sleep 30 & echo $!"},
                                      .account = std::nullopt,
                                      .directory = {},
                                      .input = {}});
    const pid_t grandchild = std::stoi(result.output);
    EXPECT_EQ(::kill(grandchild, 0), 0) << "the grandchild should still run";
    ::kill(grandchild, SIGKILL);
}

TEST(Subprocess, StopEndsTheChild) {
    const FileDescriptor stop{::eventfd(1, EFD_CLOEXEC)};
    EXPECT_THROW(run({.arguments = {"sleep", "1000"}, .account = std::nullopt, .directory = {}, .input = {}},
                     stop.get()),
                 Stopped);
    EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1) << "a child is left";
}

TEST(Subprocess, ChildRunsAsTheAccount) {
    if (::geteuid() != 0) return;  // only root can become somebody else
    const CommandResult result = run({.arguments = {"sh", "-c", "id -un; id -Gn; pwd; echo $HOME"},
                                      .account = Account::named("nobody"),
                                      .directory = {},
                                      .input = {}});
    EXPECT_EQ(result.output, "nobody\nnogroup\n/\n/nonexistent\n");
}

TEST(Subprocess, UnknownAccountIsNamed) {
    EXPECT_THROW(Account::named("no-such-account"), ConfigError);
}

}  // namespace pgcascade
