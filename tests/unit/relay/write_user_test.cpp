#include "relay/write_user.hpp"

#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <pgcascade/error.hpp>

#include "base/file.hpp"
#include "relay/users_file.hpp"
#include "unit/temporary_directory.hpp"

namespace pgcascade::relay {

namespace {

using testing::HasSubstr;

const std::string kSecret =
    "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"
    "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";

}  // namespace

class WriteUser : public testing::Test {
  protected:
    // What is written, with "…" for a secret that is new and whole.
    std::string after_writing(const std::string& content, const std::string& name) {
        write_file_durably(file_, content, 0600);
        write_user(file_, name, "correct horse");
        std::string written = read_file(file_);
        const std::string start = "SCRAM-SHA-256$";
        for (std::size_t at = written.find(start); at != std::string::npos;
             at = written.find(start, at + 1)) {
            const std::string secret = written.substr(at, written.find('"', at) - at);
            if (secret != kSecret && protocol::parse_scram_secret(secret))
                written.replace(at, secret.size(), "…");
        }
        return written;
    }

    const TemporaryDirectory temporary_;
    const std::filesystem::path file_ = temporary_.path() / "users.toml";
};

TEST_F(WriteUser, MissingFileIsMadePrivate) {
    write_user(file_, "alice", "correct horse");
    struct stat status {};
    ASSERT_EQ(::stat(file_.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 07777U, 0600U);
    const Users users = read_users_file(file_, {});
    ASSERT_NE(users.find("alice"), nullptr);
    EXPECT_EQ(users.find("alice")->secret.iterations, 4096);
    EXPECT_FALSE(users.find("alice")->physical);
}

TEST_F(WriteUser, NewUserComesAtTheEnd) {
    EXPECT_EQ(after_writing("", "alice"), "[user.alice]\nsecret = \"…\"\n");
    EXPECT_EQ(after_writing("# mine\n", "alice"), "# mine\n\n[user.alice]\nsecret = \"…\"\n");
    EXPECT_EQ(after_writing("# mine", "alice"), "# mine\n\n[user.alice]\nsecret = \"…\"\n");
    EXPECT_EQ(after_writing("", "bob \"the\" b\\"), "[user.\"bob \\\"the\\\" b\\\\\"]\nsecret = \"…\"\n");
    EXPECT_EQ(after_writing("", "jörg"), "[user.\"jörg\"]\nsecret = \"…\"\n");
    EXPECT_NE(read_users_file(file_, {}).find("jörg"), nullptr);
}

TEST_F(WriteUser, OnlyTheSecretIsReplaced) {
    const std::string before =
        "# Größe\n[user.bob]\nsecret = \"" + kSecret + "\"\n\n[ user . alice ]  # ä\r\n" +
        "feeds = [\n  \"shop\" # ü\n]\n\tsecret='" + kSecret + "'  # ö, of May\n" + "physical=true";
    const std::string after = "# Größe\n[user.bob]\nsecret = \"" + kSecret +
                              "\"\n\n[ user . alice ]  # ä\r\n" +
                              "feeds = [\n  \"shop\" # ü\n]\n\tsecret=\"…\"  # ö, of May\n" + "physical=true";
    EXPECT_EQ(after_writing(before, "alice"), after);
}

TEST_F(WriteUser, SecretIsFoundHoweverTheTableIsWritten) {
    EXPECT_EQ(after_writing("user.alice.secret = \"x\"\n", "alice"), "user.alice.secret = \"…\"\n");
    EXPECT_EQ(after_writing("user = {\"ä\" = {secret = \"x\"}, alice = {secret = \"x\"}}", "alice"),
              "user = {\"ä\" = {secret = \"x\"}, alice = {secret = \"…\"}}");
    EXPECT_EQ(after_writing("[user.alice]\nsecret = \"\"\"\nx\ny\"\"\"\n#", "alice"),
              "[user.alice]\nsecret = \"…\"\n#");
    EXPECT_EQ(after_writing("[user.alice]\nsecret = \"x\"", "alice"), "[user.alice]\nsecret = \"…\"");
}

TEST_F(WriteUser, UserWithoutASecretGetsOne) {
    EXPECT_EQ(after_writing("[user.alice] # her\nphysical = true\n", "alice"),
              "[user.alice] # her\nsecret = \"…\"\nphysical = true\n");
    EXPECT_EQ(after_writing("[user.alice]", "alice"), "[user.alice]\nsecret = \"…\"");
}

TEST_F(WriteUser, FileWithoutAPlaceForTheSecretStaysAsItIs) {
    for (const std::string content :
         {"user = {bob = {secret = \"x\"}}\n", "user = 1\n", "user.alice.physical = true\n",
          "[[user.alice]]\n", "[user]\nalice = {physical = true}\n", "[user]\nalice = 1\n"}) {
        write_file_durably(file_, content, 0600);
        try {
            write_user(file_, "alice", "correct horse");
            ADD_FAILURE() << "was accepted:\n" << content << "->\n" << read_file(file_);
        } catch (const ConfigError& problem) {
            EXPECT_THAT(problem.what(), HasSubstr("leaves no place for the secret of user \"alice\""));
            EXPECT_THAT(problem.hint(), HasSubstr("[user.alice]"));
        }
        EXPECT_EQ(read_file(file_), content);
    }
}

TEST_F(WriteUser, BrokenFileStaysAsItIs) {
    write_file_durably(file_, "[user.alice\n", 0600);
    EXPECT_THROW(write_user(file_, "alice", "correct horse"), ConfigError);
    EXPECT_EQ(read_file(file_), "[user.alice\n");
}

TEST_F(WriteUser, FileThatOthersCanReadIsRefused) {
    write_file_durably(file_, "", 0644);
    EXPECT_THROW(write_user(file_, "alice", "correct horse"), ConfigError);
    EXPECT_EQ(read_file(file_), "");
}

TEST_F(WriteUser, NameAndPasswordMustBeOnesThatCanLogIn) {
    EXPECT_THROW(write_user(file_, "", "correct horse"), ConfigError);
    EXPECT_THROW(write_user(file_, "a\nb", "correct horse"), ConfigError);
    EXPECT_THROW(write_user(file_, std::string(64, 'u'), "correct horse"), ConfigError);
    EXPECT_THROW(write_user(file_, "not \xff UTF-8", "correct horse"), ConfigError);
    EXPECT_THROW(write_user(file_, "alice", ""), ConfigError);
    EXPECT_THROW(write_user(file_, "alice", std::string("a\0b", 3)), ConfigError);
    EXPECT_FALSE(std::filesystem::exists(file_));
}

TEST_F(WriteUser, LinkStaysALink) {
    const std::filesystem::path link = temporary_.path() / "link.toml";
    write_file_durably(file_, "# mine\n", 0600);
    std::filesystem::create_symlink("users.toml", link);
    write_user(link, "alice", "correct horse");
    EXPECT_TRUE(std::filesystem::is_symlink(link));
    EXPECT_THAT(read_file(file_), HasSubstr("[user.alice]"));
}

TEST_F(WriteUser, WritersAtOnceLoseNoEntry) {
    constexpr int kWriters = 8;
    constexpr int kUsersOfEach = 4;
    std::vector<std::thread> writers;
    for (int writer = 0; writer < kWriters; ++writer)
        writers.emplace_back([this, writer] {
            for (int user = 0; user < kUsersOfEach; ++user)
                write_user(file_, "user_" + std::to_string(writer) + "_" + std::to_string(user),
                           "correct horse");
        });
    for (std::thread& writer : writers) writer.join();
    EXPECT_EQ(read_users_file(file_, {}).size(), std::size_t{kWriters} * kUsersOfEach);
}

}  // namespace pgcascade::relay
