#include "tree/relay_files.hpp"
#include "unit/tree/plan_fixture.hpp"

namespace pgcascade::tree {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Not;

const std::string kSecret =
    "SCRAM-SHA-256$4096:c2FsdHNhbHRzYWx0c2FsdA==$uV7KPTFfGCtMpGoQmeVBcv3HT+ucrC9SMC3ffKcVxO4=:"
    "uV7KPTFfGCtMpGoQmeVBcv3HT+ucrC9SMC3ffKcVxO4=";

// Beside the servers of PlanFixture: primary -> hub, a relay of one feed and of WAL for no one yet.
class PlanRelayTest : public PlanFixture {
  protected:
    PlanRelayTest() {
        add_node("hub", "primary", 6432);
        Node& hub = node("hub");
        hub.kind = NodeKind::kRelay;
        hub.feeds = {{"orders", "shop", {"orders"}, 17}};
        RelaySources sources;
        sources.secrets = {{"postgres", kSecret}, {"replicator", kSecret}};
        sources.publications = {{"shop", {"orders"}}};
        observation_.relay_sources = sources;
    }

    void has_files() {
        HostState& host = seen("hub").host;
        host.directory.state = Directory::State::kCluster;
        host.relay_file = relay_file(cascade_, node("hub"));
        for (const Feed& feed : node("hub").feeds) host.relay_feeds.insert(feed.name);
        host.users_file = relay_users_file(cascade_, node("hub"), observation_.relay_sources->secrets);
    }

    void has_feed_slot(const std::string& name, const std::string& slot_name, bool active) {
        has_slot(name, slot_name, active);
        slot(name, slot_name).type = postgres::Slot::Type::kLogical;
        slot(name, slot_name).plugin = "pgoutput";
        slot(name, slot_name).database = "shop";
        slot(name, slot_name).confirmed_flush_lsn = Lsn{1000};
    }

    void hub_runs() {
        has_files();
        seen("hub").host.is_running = true;
        ServerState state;
        state.in_recovery = true;
        state.system_identifier = kCluster;
        state.timeline = TimelineId{1};
        state.relay.emplace();
        for (const Feed& feed : node("hub").feeds)
            state.relay->feeds.push_back({.name = feed.name,
                                          .database = feed.database,
                                          .slot = node("hub").slot_of(feed),
                                          .received = Lsn{2000},
                                          .durable = Lsn{2000},
                                          .log_bytes = 1,
                                          .problem = {}});
        if (node("hub").wal) state.relay->wal.emplace();
        seen("hub").server = state;
    }

    // All servers and the relay, as the file has them.
    void all_runs() {
        everything_but_relays_runs();
        hub_runs();
        has_feed_slot("primary", "hub_orders", true);
    }

    void everything_but_relays_runs() {
        const Node hub = cascade_.nodes.back();
        cascade_.nodes.pop_back();
        everything_runs();
        cascade_.nodes.push_back(hub);
    }

    const std::string write_ =
        "hub: write /srv/hub/relay.toml, and the users postgres and replicator beside it";
    const std::string wait_ = "hub: wait until it listens and receives from primary";
};

TEST_F(PlanRelayTest, MissingRelayIsMadeAfterItsSlots) {
    everything_but_relays_runs();
    EXPECT_THAT(steps(), ElementsAre("primary: create logical slot hub_orders in database shop for hub",
                                     write_, "hub: start", wait_));
}

TEST_F(PlanRelayTest, RelayThatMatchesNeedsNothing) {
    all_runs();
    EXPECT_TRUE(planned().is_empty());
}

TEST_F(PlanRelayTest, StoppedRelayIsOnlyStarted) {
    all_runs();
    seen("hub").server.reset();
    seen("hub").host.is_running = false;
    slot("primary", "hub_orders").active = false;
    EXPECT_THAT(steps(), ElementsAre("hub: start", wait_));
}

TEST_F(PlanRelayTest, RelayThatRunsIsStoppedBeforeItsFileIsWritten) {
    all_runs();
    node("hub").relay_settings["max_bytes"] = "\"1 GB\"";
    EXPECT_THAT(steps(), ElementsAre("hub: stop (its relay.toml changes)", write_, "hub: start", wait_));
}

TEST_F(PlanRelayTest, NewSecretsAreReadWithoutARestart) {
    all_runs();
    seen("hub").host.users_file = "other ones";
    EXPECT_THAT(steps(), ElementsAre("hub: renew the users postgres and replicator"));
    // Even where it does not let us in for want of them.
    seen("hub").server.reset();
    seen("hub").is_refused = true;
    EXPECT_THAT(steps(), ElementsAre("hub: renew the users postgres and replicator", wait_));
}

TEST_F(PlanRelayTest, UsersThatPerhapsWereNotReadAreWrittenAgain) {
    all_runs();
    seen("hub").host.has_unread_users = true;
    EXPECT_THAT(steps(), ElementsAre("hub: renew the users postgres and replicator"));
}

TEST_F(PlanRelayTest, SlotOfAFeedThatIsGoneFromTheFileIsDroppedWhileTheOldFileTellsOfIt) {
    node("hub").feeds.push_back({"stock", "shop", {"stock"}, 20});
    all_runs();
    has_feed_slot("primary", "hub_stock", true);
    node("hub").feeds.pop_back();
    EXPECT_THAT(steps(), ElementsAre("hub: stop (its relay.toml changes)",
                                     "primary: drop logical slot hub_stock, which hub uses no longer", write_,
                                     "hub: start", wait_));
}

TEST_F(PlanRelayTest, RelayMovesOnlyOnceItHasWhatTheNewUpstreamDoesNotKeep) {
    all_runs();
    node("hub").upstream = "eu";
    EXPECT_THAT(steps(), ElementsAre("eu: create logical slot hub_orders in database shop for hub",
                                     "hub: wait until it has received what eu does not keep for it",
                                     "hub: stop (its relay.toml changes)", write_, "hub: start",
                                     "hub: wait until it listens and receives from eu",
                                     "primary: drop logical slot hub_orders, which hub uses no longer"));
}

TEST_F(PlanRelayTest, SlotThatAMoveHasLeftBehindIsDropped) {
    all_runs();
    has_feed_slot("eu", "hub_orders", false);
    EXPECT_THAT(steps(), ElementsAre("eu: drop logical slot hub_orders, which hub uses no longer"));
    // Not one of the same name for something else.
    slot("eu", "hub_orders").plugin = "wal2json";
    EXPECT_TRUE(planned().is_empty());
}

TEST_F(PlanRelayTest, StandbyBelowARelayIsClonedFromTheServerAboveIt) {
    node("hub").wal = true;
    all_runs();
    has_slot("primary", "hub", true);
    add_node("west", "hub", 6005);
    const auto all = steps();
    ASSERT_EQ(all.size(), 5U);
    EXPECT_EQ(all[0], "hub: create physical slot west for west");
    EXPECT_EQ(all[1], "primary: clone west into /srv/west");
    EXPECT_THAT(all[2], ::testing::StartsWith("west: make it a standby of hub (slot west)"));
    EXPECT_EQ(all[3], "west: start");
    EXPECT_EQ(all[4], "west: wait until it streams from hub (slot west)");
}

TEST_F(PlanRelayTest, RelayThatDoesNotReceiveIsWaitedFor) {
    all_runs();
    server("hub").relay->feeds[0].problem = "no route to host";
    EXPECT_THAT(steps(), ElementsAre(wait_));
    server("hub").relay->feeds[0].problem = "";
    slot("primary", "hub_orders").active = false;
    EXPECT_THAT(steps(), ElementsAre(wait_));
}

TEST_F(PlanRelayTest, SlotIsNeverMadeAnewBehindAGap) {
    all_runs();
    server("primary").slots.pop_back();
    expect_problem("hub: its slot hub_orders on primary is gone", "empty its directory");
    seen("hub").server.reset();
    seen("hub").host.is_running = false;
    expect_problem("hub: its slot hub_orders on primary is gone", "empty its directory");
}

TEST_F(PlanRelayTest, InvalidatedSlotIsAProblem) {
    all_runs();
    slot("primary", "hub_orders").invalidation_reason = "wal_removed";
    expect_problem("hub: its slot hub_orders on primary is invalidated (wal_removed)", "drop the slot");
}

TEST_F(PlanRelayTest, WhatAFeedNeedsOfThePrimaryIsNamedWithItsLine) {
    all_runs();
    observation_.relay_sources->publications["shop"].clear();
    expect_problem("/srv/cascade.toml:17: feed orders of hub: database shop has no publication orders",
                   "CREATE PUBLICATION");
    observation_.relay_sources->publications.clear();
    expect_problem("/srv/cascade.toml:17: feed orders of hub: the primary has no database shop",
                   "CREATE DATABASE");
}

TEST_F(PlanRelayTest, RoleWithoutAScramPasswordIsAProblem) {
    all_runs();
    observation_.relay_sources->secrets["replicator"] = "md5d41d8cd98f00b204e9800998ecf8427e";
    seen("hub").host.users_file = "other ones";
    expect_problem("primary: the role replicator has no SCRAM-SHA-256 password", "password_encryption");
}

TEST_F(PlanRelayTest, DirectoryThatIsNotOursIsNeverTouched) {
    everything_but_relays_runs();
    seen("hub").host.directory.state = Directory::State::kForeign;
    expect_problem("hub: /srv/hub is not empty and holds no relay", "pgcascade never does");
    seen("hub").host.is_running = true;
    expect_problem("hub: another relay works in /srv/hub", "another data_directory");
}

TEST_F(PlanRelayTest, RelayElsewhereIsLeftToAPerson) {
    all_runs();
    seen("hub").host = HostState{};
    EXPECT_TRUE(planned().is_empty());
    server("hub").relay->feeds[0].problem = "no route to host";
    EXPECT_THAT(steps(), ElementsAre(wait_));
    seen("hub").server.reset();
    expect_problem("hub: can't connect", "not on this machine");
}

TEST_F(PlanRelayTest, UpstreamHasRoomForAllSlotsOfARelay) {
    everything_but_relays_runs();
    for (int number = 0; number < 8; ++number)
        node("hub").feeds.push_back({"more" + std::to_string(number), "shop", {"orders"}, 17});
    EXPECT_THAT(steps(),
                Contains("primary: set max_replication_slots = 19 (needs a restart), max_wal_senders = 19 "
                         "(needs a restart)"));
}

TEST_F(PlanRelayTest, RelayHasNoSettingsOfServers) {
    all_runs();
    for (const std::string& step : steps()) EXPECT_THAT(step, Not(::testing::HasSubstr("hub: set")));
}

// -- its files --

TEST_F(PlanRelayTest, FileNamesEverySlotItUses) {
    node("hub").wal = true;
    node("hub").relay_settings = {{"keep", "\"16 MB\""}, {"threads", "2"}};
    const std::string file = relay_file(cascade_, node("hub"));
    EXPECT_TRUE(is_written_by_apply(file));
    EXPECT_THAT(slots_of_relay_file(file), ElementsAre("hub", "hub_orders"));
    EXPECT_EQ(file,
              "# Written by pgcascade apply for node hub of its cascade file: change that one.\n\n"
              "[relay]\nlisten = [\"127.0.0.1:6432\"]\nport = 6432\ndirectory = \".\"\nusers = \"users\"\n"
              "threads = 2\n\n"
              "[wal]\nupstream = \"host=127.0.0.1 port=6001 user=replicator application_name=hub "
              "passfile=/srv/passwords\"\nslot = \"hub\"\nkeep = \"16 MB\"\n\n"
              "[feed.orders]\nupstream = \"host=127.0.0.1 port=6001 user=replicator application_name=hub "
              "passfile=/srv/passwords dbname=shop\"\nslot = \"hub_orders\"\npublications = [\"orders\"]\n");
}

TEST_F(PlanRelayTest, FileThatSomebodyHasBrokenNamesNoSlots) {
    EXPECT_THAT(slots_of_relay_file("[feed.x"), IsEmpty());
    EXPECT_FALSE(is_written_by_apply("[relay]\n"));
}

TEST_F(PlanRelayTest, OnlyTheReplicationRoleMayPassThrough) {
    const std::string users =
        relay_users_file(cascade_, node("hub"), {{"postgres", kSecret}, {"replicator", kSecret}});
    EXPECT_THAT(users, ::testing::HasSubstr("[user.\"postgres\"]\nsecret = \"" + kSecret + "\"\n\n"));
    EXPECT_THAT(users, ::testing::HasSubstr("[user.\"replicator\"]\nsecret = \"" + kSecret +
                                            "\"\npass_through = true\n"));
}

}  // namespace
}  // namespace pgcascade::tree
