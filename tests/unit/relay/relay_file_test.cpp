#include "relay/relay_file.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <pgcascade/error.hpp>

#include "base/file.hpp"
#include "unit/temporary_directory.hpp"

namespace pgcascade::relay {

namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

constexpr const char* kRelay = R"(
[relay]
listen = ["127.0.0.1:6432", "[::1]:6433", "sockets/"]
port = 6434
directory = "relay"
users = "users.toml"
trust = ["local", "127.0.0.0/8"]
tls_certificate = "server.crt"
tls_key = "/etc/relay/server.key"
max_bytes = "10 GB"
when_full = "pause"
threads = 2
connections = 5000
connections_per_address_before_login = 50
login_timeout = "20s"
wal_sender_timeout = "1 min"

[wal]
upstream = "host=10.0.0.1 user=relay password=kept-secret"
slot = "relay"
create_slot = true

[feed.shop]
upstream = "postgresql://relay@10.0.0.1/shop"
publications = ["orders", "customers"]
slot = "relay_shop"

[feed.stock]
upstream = "host=10.0.0.2 dbname=shop"
publications = ["orders"]
slot = "relay_shop"
)";

// Replaces the first occurrence in kRelay.
std::string with(const std::string& old_text, const std::string& new_text) {
    std::string content = kRelay;
    return content.replace(content.find(old_text), old_text.size(), new_text);
}

}  // namespace

class RelayFile : public testing::Test {
  protected:
    RelayConfig read(const std::string& content) {
        write_file_durably(file_, content, 0644);
        return read_relay_file(file_);
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
    const std::filesystem::path directory_ = temporary_.path();
    const std::filesystem::path file_ = directory_ / "relay.toml";
};

TEST_F(RelayFile, WholeFileIsRead) {
    const RelayConfig config = read(kRelay);
    EXPECT_EQ(config.file, file_);
    EXPECT_EQ(config.directory, directory_ / "relay");
    EXPECT_THAT(config.listen, ElementsAre(ListenAddress{.host = "127.0.0.1", .port = 6432},
                                           ListenAddress{.host = "::1", .port = 6433},
                                           ListenAddress{.port = 6434, .directory = directory_ / "sockets"}));
    EXPECT_EQ(config.users, directory_ / "users.toml");
    EXPECT_EQ(config.tls.value().certificate, directory_ / "server.crt");
    EXPECT_EQ(config.tls.value().key, "/etc/relay/server.key");
    EXPECT_EQ(config.max_bytes, std::int64_t{10} << 30);
    EXPECT_EQ(config.when_full, WhenFull::kPause);
    EXPECT_EQ(config.threads, 2);
    EXPECT_EQ(config.connections, 5000);
    EXPECT_EQ(config.connections_per_address_before_login, 50);
    EXPECT_EQ(config.login_timeout, std::chrono::seconds{20});
    EXPECT_EQ(config.wal_sender_timeout, std::chrono::minutes{1});

    EXPECT_EQ(config.wal.value().upstream.conninfo.get("host"), "10.0.0.1");
    EXPECT_EQ(config.wal.value().upstream.conninfo.get("password"), "kept-secret");
    EXPECT_EQ(config.wal.value().upstream.slot, "relay");
    EXPECT_TRUE(config.wal.value().upstream.create_slot);

    ASSERT_EQ(config.feeds.size(), 2U);
    EXPECT_EQ(config.feeds[0].name, "shop");
    EXPECT_EQ(config.feeds[0].database, "shop");
    EXPECT_THAT(config.feeds[0].publications, ElementsAre("customers", "orders"));
    EXPECT_EQ(config.feeds[0].upstream.slot, "relay_shop");
    EXPECT_FALSE(config.feeds[0].upstream.create_slot);
    EXPECT_EQ(config.feeds[1].name, "stock");
}

TEST_F(RelayFile, WhatIsLeftOutHasItsDefault) {
    const RelayConfig config = read(
        "[relay]\ndirectory = \"/srv/relay/\"\nusers = \"u\"\n[wal]\nupstream = \"host=a\"\nslot = \"s\"\n");
    EXPECT_EQ(config.directory, "/srv/relay");
    EXPECT_THAT(config.listen, ElementsAre(ListenAddress{.host = "127.0.0.1", .port = 6432}));
    EXPECT_TRUE(config.trust.empty());
    EXPECT_FALSE(config.tls);
    EXPECT_FALSE(config.max_bytes);
    EXPECT_EQ(config.when_full, WhenFull::kInvalidate);
    EXPECT_GE(config.threads, 1);
    EXPECT_EQ(config.connections, 10'000);
    EXPECT_EQ(config.connections_per_address_before_login, 100);
    EXPECT_EQ(config.login_timeout, std::chrono::seconds{10});
    EXPECT_EQ(config.wal_sender_timeout, std::chrono::seconds{60});
    EXPECT_EQ(config.wal_receiver_timeout, std::chrono::seconds{60});
    EXPECT_EQ(config.wal.value().keep_bytes, std::int64_t{1} << 30);
    EXPECT_FALSE(config.wal.value().upstream.create_slot);
    EXPECT_TRUE(config.feeds.empty());
}

TEST_F(RelayFile, OnlyWhatIsTrustedNeedsNoPassword) {
    const RelayConfig config = read(kRelay);
    EXPECT_TRUE(config.trusts(Address::local()));
    EXPECT_TRUE(config.trusts(*Address::parse("127.0.0.1")));
    EXPECT_FALSE(config.trusts(*Address::parse("::1")));
    EXPECT_FALSE(config.trusts(*Address::parse("10.0.0.1")));
    EXPECT_FALSE(RelayConfig{}.trusts(Address::local()));
}

TEST_F(RelayFile, SyntaxErrorHasItsLine) {
    expect_error(with("threads = 2", "threads = "), 12, "", "TOML");
    expect_error(with("[wal]", "[wal"), 18, "", "TOML");
    expect_error(with("[feed.stock]", "[feed.shop]"), 28, "shop", "TOML");
}

TEST_F(RelayFile, UnknownKeyNamesTheNearest) {
    expect_error(with("[wal]", "[wall]"), 18, "unknown key \"wall\" in the file", "did you mean \"wal\"?");
    expect_error(with("trust = ", "trusted = "), 7, "unknown key \"trusted\" in [relay]", "\"trust\"");
    expect_error(with("create_slot = true", "creat_slot = true"), 21, "unknown key \"creat_slot\" in [wal]",
                 "did you mean \"create_slot\"?");
    expect_error(with("publications = [\"orders\"]", "publication = [\"orders\"]"), 30,
                 "unknown key \"publication\" in [feed.stock]", "did you mean \"publications\"?");
}

TEST_F(RelayFile, WrongTypeSaysWhatIsWanted) {
    expect_error(with("threads = 2", "threads = \"2\""), 12, "\"threads\" must be a whole number", "");
    expect_error(with("trust = [\"local\", \"127.0.0.0/8\"]", "trust = \"local\""), 7,
                 "\"trust\" must be a list in brackets", "");
    expect_error(with("trust = [\"local\", ", "trust = [\n\"local\",\n5, "), 9, "\"trust\" must be a text",
                 "");
    expect_error(with("max_bytes = \"10 GB\"", "max_bytes = 10"), 10, "\"max_bytes\" must be a text", "");
    expect_error(with("create_slot = true", "create_slot = 1"), 21, "\"create_slot\" must be true or false",
                 "");
    expect_error(with("[wal]", "[[wal]]"), 18, "\"wal\" must be a table", "");
    expect_error(with("\nupstream = \"host=10.0.0.2", "\npublications.x = 1\nupstream = \"host=10.0.0.2"), 31,
                 "", "TOML");
}

TEST_F(RelayFile, NumberOutOfRangeIsAnError) {
    expect_error(with("threads = 2", "threads = 0"), 12, "\"threads\" is 0, not from 1 to 1024", "");
    expect_error(with("connections = 5000", "connections = 0"), 13, "\"connections\" is 0, not from 1", "");
    expect_error(with("login = 50", "login = -1"), 14, "before_login\" is -1, not from 1", "");
    expect_error(with("port = 6434", "port = 65536"), 4, "\"port\" is 65536, not from 1 to 65535", "");
}

TEST_F(RelayFile, BadAmountSaysHowOneIsWritten) {
    for (const char* size : {"\"10\"", "\"10 gb\"", "\"0 GB\"", "\"-1 GB\"", "\"all\""})
        expect_error(with("\"10 GB\"", size), 10, "which is no size", "kB, MB, GB and TB");
    expect_error(with("\"20s\"", "\"20\""), 15, "login_timeout is \"20\", which is no time", "ms, s, min");
    expect_error(with("\"20s\"", "\"500 ms\""), 15, "login_timeout is 500 ms, not from 1 s to 10 min", "");
    expect_error(with("\"1 min\"", "\"2 d\""), 16, "wal_sender_timeout is 2 d, not from 0 ms to 1 d", "");
    EXPECT_EQ(read(with("\"1 min\"", "\"0s\"")).wal_sender_timeout.count(), 0);
}

TEST_F(RelayFile, SilentUpstreamHasATimeOfItsOwn) {
    const std::string both = "\"1 min\"\nwal_receiver_timeout = ";
    EXPECT_EQ(read(with("\"1 min\"", both + "\"2 min\"")).wal_receiver_timeout, std::chrono::minutes{2});
    expect_error(with("\"1 min\"", both + "\"2 d\""), 17, "wal_receiver_timeout is 2 d", "");
}

TEST_F(RelayFile, WalToKeepIsLessThanTheLimit) {
    const auto keeping = [](const char* amount) {
        return with("create_slot = true", std::string{"create_slot = true\nkeep = "} + amount);
    };
    EXPECT_EQ(read(keeping("\"512 MB\"")).wal.value().keep_bytes, std::int64_t{512} << 20);
    EXPECT_EQ(read(keeping("\"0 MB\"")).wal.value().keep_bytes, 0);
    expect_error(keeping("\"1 gb\""), 22, "\"1 gb\" is no amount of WAL to keep", "keep = ");
    expect_error(keeping("5"), 22, "\"keep\" must be a text", "");
    expect_error(keeping("\"10 GB\""), 18, "[wal] keeps 10 GB, but max_bytes is 10 GB", "max_bytes");
}

TEST_F(RelayFile, BadListenAddressSaysHowOneIsWritten) {
    for (const char* address :
         {"\"127.0.0.1\"", "\"::1:6432\"", "\"127.0.0.1:0\"", "\"sockets\"", "\"*:6432\""})
        expect_error(with("\"127.0.0.1:6432\"", address), 3, "is no address to listen on", "host:port");
    expect_error(with("\"127.0.0.1:6432\", \"[::1]:6433\", \"sockets/\"", ""), 3, "listen names no address",
                 "127.0.0.1:6432");
    expect_error(with("\"sockets/\"", "\"/" + std::string(100, 'x') + "\""), 3, "is too long", "107 bytes");
}

TEST_F(RelayFile, ListenAddressIsThereOnce) {
    expect_error(with("\"[::1]:6433\"", "\n\"127.0.0.1:6432\""), 4, "listen names 127.0.0.1:6432 twice", "");
    expect_error(with("\"[::1]:6433\"", "\"./sockets\""), 3, "sockets (port 6434) twice", "");
    EXPECT_NO_THROW(read(with("\"[::1]:6433\"", "\"127.0.0.1:6433\"")));
}

TEST_F(RelayFile, NetworkIsNeverTrusted) {
    for (const char* address : {"10.0.0.1", "0.0.0.0/0", "::/0", "192.168.0.0/16"})
        expect_error(with("127.0.0.0/8", address), 7, std::string{address} + " can't be trusted", "password");
    for (const char* address : {"localhost", "127.0.0.1/8", "127.0.0.0/33", "all"})
        expect_error(with("127.0.0.0/8", address), 7, "is no address and no network", "127.0.0.0/8");
}

TEST_F(RelayFile, UsersAreNeededUnlessEverythingIsTrusted) {
    const std::string users = "users = \"users.toml\"";
    const std::string listen = R"(listen = ["127.0.0.1:6432", "[::1]:6433", "sockets/"])";
    const auto without_users = [&](const std::string& addresses) {
        std::string content = with(users, "");
        return content.replace(content.find(listen), listen.size(), addresses);
    };
    expect_error(with(users, ""), 3, "nobody could log in on [::1]:6433", "users = ");
    EXPECT_NO_THROW(read(without_users("listen = [\"127.0.0.1:6432\", \"sockets/\"]")));
    EXPECT_NO_THROW(read(without_users("")));
    expect_error(without_users("listen = [\"0.0.0.0:6432\"]"), 3, "on 0.0.0.0:6432", "users = ");
    expect_error(without_users("listen = [\"db:6432\"]"), 3, "on db:6432", "users = ");
    expect_error(without_users("listen = [\"localhost:6432\"]"), 3, "on localhost:6432", "users = ");
    expect_error(with(users + "\ntrust = [\"local\", ", "trust = ["), 3, "on [::1]:6433", "users = ");
    expect_error("[relay]\ndirectory = \"d\"\n[wal]\nupstream = \"host=a\"\nslot = \"s\"\n", 1,
                 "nobody could log in on 127.0.0.1:6432", "trust = ");
}

TEST_F(RelayFile, TlsTakesBothFiles) {
    expect_error(with("tls_key = \"/etc/relay/server.key\"", ""), 8, "tls_certificate needs tls_key", "both");
    expect_error(with("tls_certificate = \"server.crt\"", ""), 9, "tls_key needs tls_certificate", "both");
}

TEST_F(RelayFile, MetricsStayOnThisMachineUnlessThatIsSaid) {
    const auto with_metrics = [](const std::string& lines) { return with("[wal]", lines + "\n[wal]"); };
    EXPECT_FALSE(read(kRelay).metrics);
    EXPECT_EQ(read(with_metrics("metrics = \"127.0.0.1:9187\"")).metrics,
              (ListenAddress{.host = "127.0.0.1", .port = 9187}));
    EXPECT_EQ(read(with_metrics("metrics = \"[::1]:9187\"")).metrics->host, "::1");
    for (const char* address : {"10.0.0.5:9187", "0.0.0.0:9187", "[::]:9187"})
        expect_error(with_metrics("metrics = \"" + std::string{address} + "\""), 18,
                     std::string{"metrics is "} + address + ", which other machines can reach",
                     "metrics_public = true");
    const RelayConfig open = read(with_metrics("metrics_public = true\nmetrics = \"10.0.0.5:9187\""));
    EXPECT_EQ(open.metrics->host, "10.0.0.5");
    expect_error(with_metrics("metrics_public = true"), 18, "metrics_public needs metrics", "metrics = ");
    for (const char* address : {"9187", "127.0.0.1", "localhost:9187", "127.0.0.1:0", "./run", "::1:9187"})
        expect_error(with_metrics("metrics = \"" + std::string{address} + "\""), 18,
                     "which is no address with a port", "127.0.0.1:9187");
}

TEST_F(RelayFile, WordOfWhenFullIsOneOfTwo) {
    expect_error(with("\"pause\"", "\"stop\""), 11, "when_full is \"stop\"", "");
    EXPECT_EQ(read(with("\"pause\"", "\"invalidate\"")).when_full, WhenFull::kInvalidate);
}

TEST_F(RelayFile, MissingKeyIsNamed) {
    expect_error(with("directory = \"relay\"", ""), 2, "[relay] has no directory", "directory = ");
    expect_error(with("upstream = \"host=10.0.0.1 user=relay password=kept-secret\"", ""), 18,
                 "[wal] has no upstream", "upstream = ");
    expect_error(with("slot = \"relay\"", ""), 18, "[wal] has no slot", "slot = ");
    expect_error(with("slot = \"relay_shop\"", ""), 23, "[feed.shop] has no slot", "slot = ");
    expect_error(with("publications = [\"orders\"]", ""), 28, "[feed.stock] has no publications",
                 "CREATE PUBLICATION");
    expect_error(with("[\"orders\"]", "[]"), 28, "[feed.stock] has no publications", "");
}

TEST_F(RelayFile, ThereIsSomethingToRelay) {
    expect_error("[relay]\ndirectory = \"d\"\nusers = \"u\"\n", 1, "there is nothing to relay", "[wal]");
    expect_error("[relay]\ndirectory = \"d\"\nusers = \"u\"\n[feed]\n", 1, "there is nothing to relay", "");
    expect_error("", 1, "there is no [relay]", "directory");
}

TEST_F(RelayFile, FeedNeedsADatabase) {
    expect_error(with("host=10.0.0.2 dbname=shop", "host=10.0.0.2"), 29,
                 "the upstream of [feed.stock] names no database", "dbname=");
    expect_error(with("10.0.0.1/shop", "10.0.0.1"), 24, "the upstream of [feed.shop] names no database",
                 "dbname=");
}

TEST_F(RelayFile, BadConninfoHasItsLineAndNoPassword) {
    expect_error(with("host=10.0.0.2", "hots=10.0.0.2"), 29, "hots", "postgresql://");
    try {
        read(with("user=relay password=kept-secret", "usr=relay password=kept-secret"));
        FAIL();
    } catch (const ConfigError& problem) {
        EXPECT_THAT(problem.what(), StartsWith(file_.string() + ":19: "));
        EXPECT_THAT(std::string{problem.what()} + problem.hint(), Not(HasSubstr("kept-secret")));
    }
}

TEST_F(RelayFile, BadNameIsAnError) {
    expect_error(with("[feed.stock]", "[feed.Stock]"), 28, "\"Stock\" can't be the name of a feed", "63");
    expect_error(with("[feed.stock]", "[feed.sto-ck]"), 28, "can't be the name of a feed", "63");
    expect_error(with("stock", std::string(64, 's')), 28, "can't be the name of a feed", "63");
    expect_error(with("\"relay_shop\"", "\"relay-shop\""), 26,
                 "\"relay-shop\" can't be the name of a replication slot", "63");
    EXPECT_NO_THROW(read(with("stock", std::string(63, 's'))));
}

TEST_F(RelayFile, DatabaseAndPublicationsNameOneFeed) {
    expect_error(with("[\"orders\"]", "[\"customers\", \"orders\"]"), 28,
                 "feeds \"shop\" and \"stock\" have the same database and publications", "leave one out");
    EXPECT_NO_THROW(read(with("host=10.0.0.2 dbname=shop\"\npublications = [\"orders\"]",
                              "host=10.0.0.2 dbname=stock\"\npublications = [\"customers\", \"orders\"]")));
    expect_error(with("[\"orders\"]", "[\"orders\",\n\"orders\"]"), 31, "publications names \"orders\" twice",
                 "");
}

TEST_F(RelayFile, SlotIsUsedOnceOnAnUpstream) {
    expect_error(with("host=10.0.0.2", "user=somebody host=10.0.0.1"), 28,
                 "[feed.shop] and [feed.stock] have the same slot \"relay_shop\"", "of its own");
    expect_error(with("slot = \"relay\"", "slot = \"relay_shop\""), 23,
                 "[wal] and [feed.shop] have the same slot \"relay_shop\"", "of its own");
    EXPECT_NO_THROW(read(with("host=10.0.0.2", "port=5433 host=10.0.0.1")));
}

TEST_F(RelayFile, MissingFileIsNamed) {
    try {
        read_relay_file(directory_ / "nothing.toml");
        FAIL();
    } catch (const SystemError& problem) {
        EXPECT_THAT(problem.what(), HasSubstr("nothing.toml"));
    }
}

}  // namespace pgcascade::relay
