#include "relay/users_file.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <pgcascade/error.hpp>

#include "base/file.hpp"
#include "unit/temporary_directory.hpp"

namespace pgcascade::relay {

namespace {

using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

constexpr const char* kUsers = R"(
[user.alice]
secret = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
addresses = ["10.0.0.0/8", "::1/128", "local"]
feeds = ["shop"]
physical = true
pass_through = true
require_tls = true

[user."bob the builder"]
secret = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
)";

// Replaces the first occurrence in kUsers.
std::string with(const std::string& old_text, const std::string& new_text) {
    std::string content = kUsers;
    return content.replace(content.find(old_text), old_text.size(), new_text);
}

}  // namespace

class UsersFile : public testing::Test {
  protected:
    Users read(const std::string& content) {
        write_file_durably(file_, content, 0600);
        return read_users_file(file_, {"shop", "stock"});
    }

    // Reading `content` must fail at that line, with these words and this hint.
    void expect_error(const std::string& content, int line, const std::string& what,
                      const std::string& hint) {
        try {
            read(content);
            FAIL() << "was accepted:\n" << content;
        } catch (const ConfigError& problem) {
            EXPECT_THAT(problem.what(), StartsWith(file_.string() + ":" + std::to_string(line) + ": "));
            EXPECT_THAT(problem.what(), HasSubstr(what));
            EXPECT_THAT(problem.hint(), HasSubstr(hint));
        }
    }

    const TemporaryDirectory temporary_;
    const std::filesystem::path file_ = temporary_.path() / "users.toml";
};

TEST_F(UsersFile, WholeFileIsRead) {
    const Users users = read(kUsers);
    EXPECT_EQ(users.size(), 2U);
    const User* alice = users.find("alice");
    ASSERT_NE(alice, nullptr);
    EXPECT_EQ(alice->name, "alice");
    EXPECT_EQ(alice->secret.iterations, 4096);
    EXPECT_TRUE(alice->physical);
    EXPECT_TRUE(alice->pass_through);
    EXPECT_TRUE(alice->require_tls);
    EXPECT_TRUE(alice->may_read("shop"));
    EXPECT_FALSE(alice->may_read("stock"));
    EXPECT_EQ(users.find("carol"), nullptr);
    EXPECT_EQ(users.find("Alice"), nullptr);
}

TEST_F(UsersFile, WhatIsLeftOutHasItsDefault) {
    const Users users = read(kUsers);
    const User* bob = users.find("bob the builder");
    ASSERT_NE(bob, nullptr);
    EXPECT_FALSE(bob->physical);
    EXPECT_FALSE(bob->pass_through);
    EXPECT_FALSE(bob->require_tls);
    EXPECT_TRUE(bob->may_read("stock"));
    EXPECT_TRUE(bob->may_connect_from(*Address::parse("192.0.2.1")));
    EXPECT_TRUE(bob->may_connect_from(Address::local()));
}

TEST_F(UsersFile, UserComesFromTheListedAddressesOnly) {
    const Users users = read(kUsers);
    const User& alice = *users.find("alice");
    EXPECT_TRUE(alice.may_connect_from(*Address::parse("10.20.30.40")));
    EXPECT_TRUE(alice.may_connect_from(*Address::parse("::ffff:10.20.30.40")));
    EXPECT_TRUE(alice.may_connect_from(*Address::parse("::1")));
    EXPECT_TRUE(alice.may_connect_from(Address::local()));
    EXPECT_FALSE(alice.may_connect_from(*Address::parse("11.0.0.1")));
    EXPECT_FALSE(read(with(", \"local\"", "")).find("alice")->may_connect_from(Address::local()));
}

TEST_F(UsersFile, EmptyListOfFeedsIsNoFeed) {
    EXPECT_FALSE(read(with("[\"shop\"]", "[]")).find("alice")->may_read("shop"));
}

TEST_F(UsersFile, EmptyFileHasNoUsers) {
    EXPECT_EQ(read("").size(), 0U);
}

TEST_F(UsersFile, SyntaxErrorHasItsLine) {
    expect_error(with("physical = true", "physical = "), 6, "", "TOML");
}

TEST_F(UsersFile, UnknownKeyNamesTheNearest) {
    expect_error(with("pass_through", "passthrough"), 7, "unknown key \"passthrough\" in [user.alice]",
                 "did you mean \"pass_through\"?");
    expect_error(with("[user.alice]", "[users.alice]"), 2, "unknown key \"users\" in the file",
                 "did you mean \"user\"?");
}

TEST_F(UsersFile, WrongTypeSaysWhatIsWanted) {
    expect_error(with("physical = true", "physical = 1"), 6, "\"physical\" must be true or false", "");
    expect_error(with("[\"shop\"]", "\"shop\""), 5, "\"feeds\" must be a list in brackets", "");
    expect_error(with("[\"shop\"]", "[\n\"shop\",\n1]"), 7, "\"feeds\" must be a text", "");
    expect_error("user = 1\n", 1, "\"user\" must be a table", "");
    expect_error("[user]\nalice = 1\n", 2, "\"alice\" must be a table", "");
}

TEST_F(UsersFile, PasswordInPlaceOfASecretIsRefusedAndNotRepeated) {
    for (const char* password :
         {"kept-secret", "md55a231fcdb710d73268c4f44283487ba2", "SCRAM-SHA-256$kept-secret"}) {
        try {
            read("[user.alice]\nsecret = \"" + std::string{password} + "\"\n");
            FAIL() << password << " was accepted";
        } catch (const ConfigError& problem) {
            EXPECT_THAT(problem.what(),
                        StartsWith(file_.string() + ":2: the secret of user \"alice\" is no"));
            EXPECT_THAT(problem.hint(), HasSubstr("pg_authid.rolpassword"));
            EXPECT_THAT(std::string{problem.what()} + problem.hint(), Not(HasSubstr(password)));
        }
    }
}

TEST_F(UsersFile, MissingSecretIsAnError) {
    expect_error("[user.alice]\nphysical = true\n", 1, "user \"alice\" has no secret", "secret = ");
}

TEST_F(UsersFile, BadAddressIsAnError) {
    for (const char* address : {"10.0.0.1/8", "10.0.0.0/33", "example.com", "::1/129"})
        expect_error(with("10.0.0.0/8", address), 4, "is no address and no network", "zeroes");
    expect_error(with("[\"10.0.0.0/8\", \"::1/128\", \"local\"]", "[]"), 4, "addresses names none",
                 "leave it out");
}

TEST_F(UsersFile, UnknownFeedNamesTheNearest) {
    expect_error(with("\"shop\"", "\n\"shpo\""), 6, "there is no feed \"shpo\"", "did you mean \"shop\"?");
    expect_error(with("\"shop\"", "\"elsewhere\""), 5, "there is no feed \"elsewhere\"", "[feed.elsewhere]");
}

TEST_F(UsersFile, BadUserNameIsAnError) {
    for (const std::string& name : {std::string{}, std::string(64, 'u'), std::string{"a\\nb"}})
        expect_error(with("\"bob the builder\"", '"' + name + '"'), 10, "can't be the name of a user", "63");
}

TEST_F(UsersFile, FileThatOthersCanReadOrWriteIsRefused) {
    for (const mode_t mode : {0640U, 0620U, 0610U, 0604U, 0602U, 0601U, 0644U, 0666U}) {
        write_file_durably(file_, kUsers, mode);
        try {
            read_users_file(file_, {"shop"});
            FAIL() << std::oct << mode << " was accepted";
        } catch (const ConfigError& problem) {
            EXPECT_THAT(problem.what(), HasSubstr("may be read or written by others"));
            EXPECT_THAT(problem.hint(), HasSubstr("chmod 600 " + file_.string()));
        }
    }
    write_file_durably(file_, kUsers, 0400);
    EXPECT_NO_THROW(read_users_file(file_, {"shop"}));
}

TEST_F(UsersFile, FileOfAnotherAccountIsRefused) {
    if (::geteuid() != 0) GTEST_SKIP() << "only root can give a file away";
    write_file_durably(file_, kUsers, 0600, FileOwner{12345, 12345});
    try {
        read_users_file(file_, {"shop"});
        FAIL();
    } catch (const ConfigError& problem) {
        EXPECT_THAT(problem.what(), HasSubstr("belongs to another account (uid 12345)"));
        EXPECT_THAT(problem.hint(), HasSubstr("chown 0 "));
    }
}

TEST_F(UsersFile, MissingFileIsNamed) {
    try {
        read_users_file(file_, {});
        FAIL();
    } catch (const SystemError& problem) {
        EXPECT_THAT(problem.what(), HasSubstr("users.toml"));
    }
}

}  // namespace pgcascade::relay
