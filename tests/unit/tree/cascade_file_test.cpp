#include "tree/cascade_file.hpp"

#include <cstdlib>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <pgcascade/error.hpp>

namespace pgcascade::tree {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;
using ::testing::StartsWith;

class CascadeFileTest : public ::testing::Test {
  protected:
    CascadeFileTest() {
        std::string pattern = (std::filesystem::temp_directory_path() / "cascade_file.XXXXXX").string();
        directory_ = ::mkdtemp(pattern.data());
    }
    ~CascadeFileTest() override { std::filesystem::remove_all(directory_); }

    Cascade read(const std::string& content) {
        std::ofstream{file()} << content;
        return read_cascade_file(file());
    }

    std::filesystem::path file() const { return directory_ / "cascade.toml"; }

    // Reading `content` must fail at that line, with these words and this hint.
    void expect_error(const std::string& content, int line, const std::string& what,
                      const std::string& hint) {
        try {
            read(content);
            FAIL() << "was accepted:\n" << content;
        } catch (const ConfigError& problem) {
            EXPECT_THAT(problem.what(), StartsWith(file().string() + ":" + std::to_string(line) + ": "));
            EXPECT_THAT(problem.what(), HasSubstr(what));
            EXPECT_THAT(problem.hint(), HasSubstr(hint));
        }
    }

    std::filesystem::path directory_;
};

constexpr const char* kTree = R"(
[cascade]
name = "shop"
passfile = "secrets/passwords"

[settings]
wal_level = "logical"
max_wal_senders = 20
hot_standby_feedback = true

[node.primary]
port = 6001
data_directory = "nodes/primary/"
create = true

[node.eu-1]
upstream = "eu"
port = 6003
data_directory = "/srv/eu-1"

[node.eu]
upstream = "primary"
host = "localhost"
port = 6002
data_directory = "nodes/../nodes/eu"
slot = "europe"

[node.eu.settings]
max_wal_senders = 40
"auto_explain.log_min_duration" = "1s"

[node.eu.tablespaces]
"/fast/primary" = "fast/eu"
)";

// Replaces the first occurrence in kTree.
std::string with(const std::string& old_text, const std::string& new_text) {
    std::string content = kTree;
    return content.replace(content.find(old_text), old_text.size(), new_text);
}

TEST_F(CascadeFileTest, WholeTreeIsRead) {
    const Cascade cascade = read(kTree);
    EXPECT_EQ(cascade.name, "shop");
    EXPECT_EQ(cascade.user, "postgres");
    EXPECT_EQ(cascade.replication_user, "replicator");
    EXPECT_EQ(cascade.passfile, directory_ / "secrets/passwords");
    ASSERT_EQ(cascade.nodes.size(), 3U);

    const Node& primary = cascade.primary();
    EXPECT_EQ(primary.name, "primary");
    EXPECT_EQ(primary.data_directory, directory_ / "nodes/primary");
    EXPECT_TRUE(primary.create);
    EXPECT_THAT(primary.settings, ElementsAre(Pair("hot_standby_feedback", "on"),
                                              Pair("max_wal_senders", "20"), Pair("wal_level", "logical")));

    const Node& eu = cascade.nodes[1];
    EXPECT_EQ(eu.name, "eu");
    EXPECT_EQ(eu.slot, "europe");
    EXPECT_EQ(eu.data_directory, directory_ / "nodes/eu");
    EXPECT_THAT(eu.tablespaces, ElementsAre(Pair("/fast/primary", directory_ / "fast/eu")));

    const Node& leaf = cascade.nodes[2];
    EXPECT_EQ(leaf.name, "eu-1");
    EXPECT_EQ(leaf.slot, "eu_1");
    EXPECT_EQ(leaf.upstream, "eu");
}

TEST_F(CascadeFileTest, NodeSettingsOverlayTheCommonOnes) {
    const Cascade cascade = read(kTree);
    EXPECT_EQ(cascade.node("eu").settings.at("max_wal_senders"), "40");
    EXPECT_EQ(cascade.node("eu").settings.at("auto_explain.log_min_duration"), "1s");
    EXPECT_EQ(cascade.node("eu").settings.at("wal_level"), "logical");
    EXPECT_EQ(cascade.node("eu-1").settings.at("max_wal_senders"), "20");
}

TEST_F(CascadeFileTest, ConninfosHoldNoPasswordButWhereItIsFound) {
    const Cascade cascade = read(kTree);
    const std::string passfile = (directory_ / "secrets/passwords").string();
    EXPECT_EQ(cascade.conninfo(cascade.node("eu")).to_string(),
              "host=localhost port=6002 user=postgres dbname=postgres passfile=" + passfile);
    EXPECT_EQ(cascade.upstream_conninfo(cascade.node("eu-1")).to_string(),
              "host=localhost port=6002 user=replicator application_name=eu-1 passfile=" + passfile);
}

TEST_F(CascadeFileTest, SyntaxErrorHasItsLine) {
    expect_error(with("port = 6001", "port = "), 12, "", "TOML");
    expect_error(with("[node.eu]", "[node.eu"), 21, "", "TOML");
}

TEST_F(CascadeFileTest, SameTableTwiceIsAnError) {
    expect_error(with("[node.eu]", "[node.primary]"), 21, "primary", "TOML");
}

TEST_F(CascadeFileTest, UnknownKeyNamesTheNearest) {
    expect_error(with("upstream = \"primary\"", "upstraem = \"primary\""), 22,
                 "unknown key \"upstraem\" in [node.eu]", "did you mean \"upstream\"?");
    expect_error(with("name = \"shop\"", "naem = \"shop\""), 3, "unknown key \"naem\" in [cascade]",
                 "did you mean \"name\"?");
    expect_error(with("[settings]", "[setings]"), 6, "unknown key \"setings\"", "did you mean \"settings\"?");
    expect_error(with("slot = \"europe\"", "zzzzzzz = 1"), 26, "unknown key \"zzzzzzz\"", "known are: ");
}

TEST_F(CascadeFileTest, WrongTypeSaysWhatIsWanted) {
    expect_error(with("port = 6001", "port = \"6001\""), 12, "\"port\" must be a whole number", "");
    expect_error(with("create = true", "create = \"yes\""), 14, "\"create\" must be true or false", "");
    expect_error(with("upstream = \"eu\"", "upstream = [\"eu\"]"), 17, "\"upstream\" must be a text", "");
    expect_error(with("[node.eu.settings]", "[[node.eu.settings]]"), 28, "must be a table", "");
    expect_error(with("wal_level = \"logical\"", "wal_level = [1]"), 7, "\"wal_level\" must be", "");
    expect_error(with("name = \"shop\"", "name = \"\""), 3, "must not be empty", "");
}

TEST_F(CascadeFileTest, BadPortIsAnError) {
    expect_error(with("port = 6001", "port = 0"), 12, "\"port\" is 0, not from 1 to 65535", "");
    expect_error(with("port = 6001", "port = 65536"), 12, "\"port\" is 65536", "");
}

TEST_F(CascadeFileTest, BadHostIsAnError) {
    expect_error(with("host = \"localhost\"", "host = \"a,b\""), 23, "\"a,b\" is not one host",
                 "one for each");
}

TEST_F(CascadeFileTest, MissingDataDirectoryIsAnError) {
    expect_error(with("data_directory = \"/srv/eu-1\"", ""), 16, "node \"eu-1\" has no data_directory",
                 "data_directory = ");
}

TEST_F(CascadeFileTest, UnknownUpstreamNamesTheNearest) {
    expect_error(with("upstream = \"primary\"", "upstream = \"primry\""), 21,
                 "upstream \"primry\" of node \"eu\" is no node", "did you mean \"primary\"?");
    expect_error(with("upstream = \"primary\"", "upstream = \"somewhere-else\""), 21, "somewhere-else",
                 "add [node.somewhere-else]");
}

TEST_F(CascadeFileTest, CycleIsNamed) {
    expect_error(with("upstream = \"primary\"", "upstream = \"eu-1\""), 16, "in a circle: eu-1 <- eu <- eu-1",
                 "another upstream");
    expect_error(with("upstream = \"eu\"", "upstream = \"eu-1\""), 16, "in a circle: eu-1 <- eu-1", "");
}

TEST_F(CascadeFileTest, ThereIsExactlyOnePrimary) {
    expect_error(with("upstream = \"primary\"", ""), 21, "two primaries: \"primary\" and \"eu\"",
                 "upstream = \"primary\"");
    expect_error("[cascade]\nname = \"shop\"\n", 1, "there is no primary", "[node.primary]");
    expect_error("", 1, "there is no primary", "[node.primary]");
}

TEST_F(CascadeFileTest, PortIsUsedOnceOnAMachine) {
    expect_error(with("port = 6002", "port = 6001"), 21, "same host and port: localhost:6001", "of its own");
    // Elsewhere the same port is another one.
    EXPECT_NO_THROW(read(with("host = \"localhost\"\nport = 6002", "host = \"10.0.0.1\"\nport = 6001")));
}

TEST_F(CascadeFileTest, DirectoryIsUsedOnceOnAMachine) {
    expect_error(with("/srv/eu-1", directory_ / "nodes/primary"), 16, "overlap", "of its own");
    expect_error(with("/srv/eu-1", directory_ / "nodes/primary/inner"), 16, "overlap", "of its own");
    expect_error(with("\"fast/eu\"", "\"/srv/eu-1\""), 21, "overlap", "of its own");
    EXPECT_NO_THROW(read(with("/srv/eu-1", directory_ / "nodes/primary-too")));
}

TEST_F(CascadeFileTest, SlotIsUsedOnceOnAnUpstream) {
    expect_error(with("upstream = \"eu\"", "upstream = \"primary\"\nslot = \"europe\""), 22,
                 "same slot \"europe\" on \"primary\"", "slot = ");
    EXPECT_NO_THROW(read(with("upstream = \"eu\"", "upstream = \"eu\"\nslot = \"europe\"")));
}

TEST_F(CascadeFileTest, BadSlotNameIsAnError) {
    expect_error(with("\"europe\"", "\"Europe\""), 26, "\"Europe\" can't be the name of a replication slot",
                 "lower-case");
    expect_error(with("\"europe\"", "\"eu-rope\""), 26, "can't be the name", "lower-case");
    expect_error(with("europe", std::string(64, 'a')), 26, "64 bytes long", "63");
    EXPECT_NO_THROW(read(with("europe", std::string(63, 'a'))));
}

TEST_F(CascadeFileTest, BadNodeNameIsAnError) {
    expect_error(with("[node.eu-1]", "[node.\"eu 1\"]"), 16, "\"eu 1\" can't be the name of a node", "63");
    expect_error(with("[node.eu-1]", "[node." + std::string(64, 'n') + "]"), 16, "can't be the name", "63");
}

TEST_F(CascadeFileTest, CreateIsForAPrimaryWithAPassfile) {
    expect_error(with("slot = \"europe\"", "create = true"), 21, "can't have create = true", "cloned");
    expect_error(with("passfile = \"secrets/passwords\"", ""), 11, "create = true needs a passfile",
                 "passfile = ");
}

TEST_F(CascadeFileTest, SettingsThatFollowFromTheTreeAreRefused) {
    expect_error(with("max_wal_senders = 20", "port = 5433"), 8, "\"port\" is written by pgcascade",
                 "[node.");
    expect_error(with("max_wal_senders = 40", "primary_conninfo = \"host=x\""), 29,
                 "\"primary_conninfo\" is written by pgcascade", "upstream");
    expect_error(with("max_wal_senders = 40", "\"max wal\" = 1"), 29, "no name of a PostgreSQL setting", "");
}

TEST_F(CascadeFileTest, TablespaceIsMappedFromAnAbsolutePath) {
    expect_error(with("\"/fast/primary\"", "\"fast/primary\""), 33,
                 "\"fast/primary\" is not an absolute path", "/where/");
}

TEST_F(CascadeFileTest, MissingFileIsNamed) {
    try {
        read_cascade_file(directory_ / "nothing.toml");
        FAIL();
    } catch (const SystemError& problem) {
        EXPECT_THAT(problem.what(), HasSubstr("nothing.toml"));
        EXPECT_THAT(problem.what(), HasSubstr("No such file"));
    }
}

TEST_F(CascadeFileTest, UnknownNodeNamesTheNearest) {
    const Cascade cascade = read(kTree);
    try {
        (void)cascade.node("eu-2");
        FAIL();
    } catch (const ConfigError& problem) {
        EXPECT_THAT(problem.what(), HasSubstr("has no node \"eu-2\""));
        EXPECT_THAT(problem.hint(), HasSubstr("\"eu-1\""));
    }
}

// -- Relays --

constexpr const char* kRelays = R"([node.primary]
port = 6001
data_directory = "primary"
[node.hub]
kind = "relay"
upstream = "primary"
port = 6432
data_directory = "hub"
[node.hub.feed.orders]
database = "shop"
publications = ["orders", "stock"]
[node.hub.settings]
max_bytes = "10 GB"
threads = 2
tls_certificate = "server.crt"
tls_key = "server.key"
[node.eu]
upstream = "hub"
port = 6002
data_directory = "eu"
[node.far]
kind = "relay"
upstream = "hub"
port = 6433
data_directory = "far"
[node.far.feed.all]
database = "shop"
publications = ["stock", "orders"]
)";

std::string with_relay(const std::string& old_text, const std::string& new_text) {
    std::string content = kRelays;
    return content.replace(content.find(old_text), old_text.size(), new_text);
}

TEST_F(CascadeFileTest, RelaysAreRead) {
    const Cascade cascade = read(kRelays);
    const Node& hub = cascade.node("hub");
    EXPECT_TRUE(hub.is_relay());
    EXPECT_TRUE(hub.settings.empty());
    ASSERT_EQ(hub.feeds.size(), 1U);
    EXPECT_EQ(hub.feeds[0].database, "shop");
    EXPECT_EQ(hub.feeds[0].line, 9);
    EXPECT_THAT(hub.feeds[0].publications, ElementsAre("orders", "stock"));
    EXPECT_THAT(hub.slots(), ElementsAre("hub", "hub_orders"));
    const std::string here = directory_.string();
    EXPECT_THAT(hub.relay_settings, ElementsAre(Pair("max_bytes", "\"10 GB\""), Pair("threads", "2"),
                                                Pair("tls_certificate", "\"" + here + "/server.crt\""),
                                                Pair("tls_key", "\"" + here + "/server.key\"")));
    EXPECT_EQ(cascade.server_above(cascade.node("eu")).name, "primary");
    EXPECT_EQ(cascade.conninfo(hub).get("dbname"), "shop");
}

TEST_F(CascadeFileTest, RelayHasWalForThoseWhoNeedItAndWhereItHasNothingElse) {
    EXPECT_TRUE(read(kRelays).node("hub").wal);
    EXPECT_FALSE(read(kRelays).node("far").wal);
    EXPECT_TRUE(read(with_relay("[node.far.feed.all]", "wal = true\n[node.far.feed.all]")).node("far").wal);
    EXPECT_FALSE(read(with_relay("upstream = \"hub\"", "upstream = \"primary\"")).node("hub").wal);
}

TEST_F(CascadeFileTest, WhatARelayCanNotDoIsRefused) {
    expect_error(with_relay("upstream = \"primary\"\n", ""), 4, "relay \"hub\" has no upstream",
                 "nothing of its own");
    expect_error(with_relay("port = 6432", "wal = false"), 7,
                 "relays no WAL, and node \"eu\" below it needs it", "another upstream");
    expect_error(with_relay("publications = [\"stock\", \"orders\"]", "publications = [\"stock\"]"), 26,
                 "its upstream \"hub\" is a relay that has no feed", "[node.hub.feed.all]");
    expect_error(with_relay("port = 6432", "create = true"), 7, "unknown key \"create\" in [node.hub]",
                 "known are: ");
    expect_error(with_relay("kind = \"relay\"", "kind = \"relais\""), 5, "no kind \"relais\"",
                 "kind = \"relay\"");
    expect_error(with_relay("database = \"shop\"\n", ""), 9, "[node.hub.feed.orders] has no database", "");
    expect_error(with_relay("publications = [\"orders\", \"stock\"]", "publications = []"), 9,
                 "has no publications", "CREATE PUBLICATION");
    expect_error(with_relay("\"orders\", \"stock\"", "\"orders\", \"orders\""), 11, "names \"orders\" twice",
                 "");
    expect_error(with_relay("feed.orders", "feed.Orders"), 9, "can't be the name of a feed", "lower-case");
    expect_error(
        with_relay("[node.hub.settings]",
                   "[node.hub.feed.again]\ndatabase = \"shop\"\npublications = [\"stock\", \"orders\"]\n"
                   "[node.hub.settings]"),
        12, "have the same database and publications", "leave one out");
    expect_error(with_relay("feed.orders", "feed.o" + std::string(60, 'o')), 9, "which is too long",
                 "63 bytes");
    expect_error(with_relay("[node.eu]\nupstream = \"hub\"", "[node.hub_orders]\nupstream = \"primary\""), 17,
                 "have the same slot \"hub_orders\"", "add slot");
}

TEST_F(CascadeFileTest, SettingsOfARelayAreCheckedBeforeItRunsByThem) {
    expect_error(with_relay("\"10 GB\"", "\"10\""), 13, "max_bytes is \"10\", which is no size", "10 GB");
    expect_error(with_relay("\"10 GB\"", "\"1 GB\""), 4, "keeps 1 GB of WAL in any case", "keep =");
    expect_error(with_relay("threads = 2", "threads = 0"), 14, "not from 1 to 1024", "");
    expect_error(with_relay("threads = 2", "login_timeout = \"10\""), 14, "which is no time", "1.5 min");
    expect_error(with_relay("threads = 2", "when_full = \"stop\""), 14, "when_full is \"stop\"", "pause");
    expect_error(with_relay("threads = 2", "work_mem = \"1MB\""), 14, "unknown key \"work_mem\"", "");
    expect_error(with_relay("tls_key = \"server.key\"\n", ""), 12, "go together", "neither");
}

}  // namespace
}  // namespace pgcascade::tree
