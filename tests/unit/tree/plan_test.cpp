#include "unit/tree/plan_fixture.hpp"

namespace pgcascade::tree {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

using PlanTest = PlanFixture;

TEST_F(PlanTest, WholeTreeIsMadeTopDown) {
    const std::string standby_settings =
        "cluster_name = {}, hot_standby_feedback = on, listen_addresses = "
        "127.0.0.1, port = {}";
    EXPECT_THAT(
        steps(),
        ElementsAre(
            "generate the passwords of postgres and replicator and write /srv/passwords (mode 0600)",
            "primary: create a cluster in /srv/primary with cluster_name = primary, listen_addresses = "
            "127.0.0.1, port = 6001, wal_level = logical",
            "primary: start",
            "primary: create role replicator (LOGIN REPLICATION, with the password of the passfile)",
            "primary: create physical slot eu for eu", "primary: create physical slot us for us",
            "primary: clone eu into /srv/eu, us into /srv/us (from one backup stream)",
            "eu: make it a standby of primary (slot eu) with cluster_name = eu, hot_standby_feedback = on, "
            "listen_addresses = 127.0.0.1, port = 6002",
            "eu: start", "eu: wait until it streams from primary (slot eu)",
            "us: make it a standby of primary (slot us) with cluster_name = us, hot_standby_feedback = on, "
            "listen_addresses = 127.0.0.1, port = 6003",
            "us: start", "us: wait until it streams from primary (slot us)",
            "eu: create physical slot eu_1 for eu-1", "eu: clone eu-1 into /srv/eu-1",
            "eu-1: make it a standby of eu (slot eu_1) with cluster_name = eu-1, listen_addresses = "
            "127.0.0.1, "
            "port = 6004",
            "eu-1: start", "eu-1: wait until it streams from eu (slot eu_1)"));
}

TEST_F(PlanTest, RunningTreeThatMatchesNeedsNothing) {
    everything_runs();
    EXPECT_TRUE(planned().is_empty());
}

TEST_F(PlanTest, MissingPrimaryIsMadeOnlyWhenTheFileSaysSo) {
    cascade_.nodes[0].create = false;
    expect_problem("primary: there is no cluster in /srv/primary and nobody answers at 127.0.0.1:6001",
                   "create = true");
}

TEST_F(PlanTest, OnlyMissingPasswordsAreGenerated) {
    observation_.passfile = {.has_user = true, .has_replication_user = false, .problem = {}};
    EXPECT_EQ(steps()[0], "generate the password of replicator and write /srv/passwords (mode 0600)");
    observation_.passfile.has_replication_user = true;
    EXPECT_THAT(steps()[0], StartsWith("primary: create a cluster in /srv/primary"));
}

TEST_F(PlanTest, MissingStandbyIsClonedFromItsOwnUpstream) {
    everything_runs();
    seen("eu-1") = NodeObservation{};
    seen("eu-1").host.is_this_machine = true;
    server("eu").slots.clear();
    server("eu").downstreams.clear();
    EXPECT_THAT(steps(),
                ElementsAre("eu: create physical slot eu_1 for eu-1", "eu: clone eu-1 into /srv/eu-1",
                            "eu-1: make it a standby of eu (slot eu_1) with cluster_name = eu-1, "
                            "listen_addresses = 127.0.0.1, port = 6004",
                            "eu-1: start", "eu-1: wait until it streams from eu (slot eu_1)"));
}

TEST_F(PlanTest, SlotThatIsThereIsUsed) {
    everything_runs();
    seen("eu-1") = NodeObservation{};
    seen("eu-1").host.is_this_machine = true;
    slot("eu", "eu_1").active = false;
    EXPECT_EQ(steps()[0], "eu: clone eu-1 into /srv/eu-1");
    slot("eu", "eu_1").restart_lsn.reset();  // it keeps no WAL
    EXPECT_EQ(steps()[0], "eu: replace the unusable physical slot eu_1 for eu-1");
    slot("eu", "eu_1").restart_lsn = Lsn{1};
    slot("eu", "eu_1").wal_status = "lost";
    EXPECT_EQ(steps()[0], "eu: replace the unusable physical slot eu_1 for eu-1");
}

TEST_F(PlanTest, CloneThatWasCutOffBeforeItBecameAStandbyIsNotClonedAgain) {
    everything_runs();
    seen("us").server.reset();
    seen("us").host.is_running = false;
    seen("us").host.directory.is_standby = false;
    seen("us").host.has_backup_label = true;
    seen("us").host.configured["hot_standby_feedback"] = "off";
    seen("us").host.configured["port"] = "6001";
    slot("primary", "us").active = false;
    EXPECT_THAT(steps(), ElementsAre("us: make it a standby of primary (slot us) with cluster_name = us, "
                                     "hot_standby_feedback = on, listen_addresses = 127.0.0.1, port = 6003",
                                     "us: start", "us: wait until it streams from primary (slot us)"));
}

TEST_F(PlanTest, SettingsOfTheSourceAloneAreNotInherited) {
    node("primary").settings = {{"work_mem", "1GB"}, {"max_connections", "300"}};
    const auto all = steps();
    EXPECT_THAT(all[7], HasSubstr("eu: make it a standby of primary (slot eu)"));
    // What the primary needs it to have is written, though it would have come along.
    EXPECT_THAT(all[7], HasSubstr("max_connections = 300"));
    EXPECT_THAT(all[7], HasSubstr("; without primary's own max_connections, work_mem"));
    EXPECT_THAT(all[15], HasSubstr("eu-1: make it a standby of eu"));
    EXPECT_THAT(all[15], Not(HasSubstr("without")));
}

TEST_F(PlanTest, CloneOfAServerWithItsFilesElsewhereGetsWhatItNeeds) {
    everything_runs();
    seen("us") = NodeObservation{};
    seen("us").host.is_this_machine = true;
    server("primary").config_file = "/etc/postgresql/18/main/postgresql.conf";
    setting("primary", "max_connections").value = "300";
    for (const char* name : {"eu", "eu-1"}) setting(name, "max_connections").value = "300";
    slot("primary", "us").active = false;
    EXPECT_THAT(steps()[1],
                HasSubstr("us: make it a standby of primary (slot us) with cluster_name = us, "
                          "hot_standby_feedback = on, listen_addresses = 127.0.0.1, max_connections = 300, "
                          "port = 6003, wal_level = logical"));
}

TEST_F(PlanTest, NodeElsewhereThatIsMissingIsAProblem) {
    everything_runs();
    seen("us") = NodeObservation{};
    seen("us").unreachable = {"us: can't connect: refused", "is it running?"};
    expect_problem("us: can't connect: refused", "not on this machine");
}

TEST_F(PlanTest, StoppedTreeIsStartedTopDown) {
    for (const Node& one : cascade_.nodes) has_cluster(one.name);
    EXPECT_THAT(steps(),
                ElementsAre("primary: start", "eu: start", "eu: wait until it streams from primary (slot eu)",
                            "us: start", "us: wait until it streams from primary (slot us)", "eu-1: start",
                            "eu-1: wait until it streams from eu (slot eu_1)"));
}

TEST_F(PlanTest, StandbyWhoseUpstreamWasDownOnlyWaits) {
    everything_runs();
    seen("eu").server.reset();
    seen("eu").host.is_running = false;
    server("eu-1").receiver.reset();
    EXPECT_THAT(steps(), ElementsAre("eu: start", "eu: wait until it streams from primary (slot eu)",
                                     "eu-1: wait until it streams from eu (slot eu_1)"));
}

TEST_F(PlanTest, StoppedServerGetsItsSettingsBeforeItStarts) {
    for (const Node& one : cascade_.nodes) has_cluster(one.name);
    seen("primary").host.configured["wal_level"] = "replica";
    seen("eu").host.configured["hot_standby_feedback"] = "off";
    const auto all = steps();
    EXPECT_EQ(all[0], "primary: set wal_level = logical");
    EXPECT_EQ(all[1], "primary: start");
    EXPECT_EQ(all[2], "eu: make it a standby of primary (slot eu) with hot_standby_feedback = on");
    EXPECT_EQ(all[3], "eu: start");
}

TEST_F(PlanTest, StoppedServerIsAskedWhetherOtherWordsMeanTheSame) {
    for (const Node& one : cascade_.nodes) has_cluster(one.name);
    node("primary").settings = {{"shared_buffers", "16MB"}};
    seen("primary").host.configured["shared_buffers"] = "2048";
    EXPECT_EQ(steps()[0], "primary: set shared_buffers = 16MB");
    seen("primary").host.wanted["shared_buffers"] = "2048";
    EXPECT_EQ(steps()[0], "primary: start");
}

TEST_F(PlanTest, PrimaryCutOffAfterInitdbStillGetsItsRole) {
    has_cluster("primary");
    seen("primary").host.slots.clear();
    observation_.passfile = {.has_user = true, .has_replication_user = true, .problem = {}};
    const auto all = steps();
    EXPECT_EQ(all[0], "primary: start");
    EXPECT_EQ(all[1],
              "primary: create role replicator where it is missing (LOGIN REPLICATION, with the password of "
              "the passfile)");
    EXPECT_THAT(all[2], HasSubstr("add to pg_hba.conf (where the replication role is refused)"));
    EXPECT_EQ(all[3], "primary: create physical slot eu for eu");
}

TEST_F(PlanTest, StartingServersAreWaitedFor) {
    for (const Node& one : cascade_.nodes) {
        has_cluster(one.name);
        seen(one.name).host.is_running = true;
    }
    EXPECT_THAT(steps(), ElementsAre("primary: wait until it takes connections",
                                     "eu: wait until it streams from primary (slot eu)",
                                     "us: wait until it streams from primary (slot us)",
                                     "eu-1: wait until it streams from eu (slot eu_1)"));
}

TEST_F(PlanTest, ServerOnAnotherPortIsStoppedToGetItsOwn) {
    everything_runs();
    seen("us").server.reset();
    seen("us").host.configured["port"] = "7777";
    EXPECT_THAT(steps(), ElementsAre("us: stop (it does not answer, and needs other settings)",
                                     "us: make it a standby of primary (slot us) with port = 6003",
                                     "us: start", "us: wait until it streams from primary (slot us)"));
}

TEST_F(PlanTest, StoppedStandbyOfAnotherUpstreamIsRepointed) {
    everything_runs();
    seen("us").server.reset();
    seen("us").host.is_running = false;
    seen("us").host.configured["primary_conninfo"] = "host=127.0.0.1 port=6002";
    EXPECT_THAT(steps(), ElementsAre("us: make it a standby of primary (slot us)", "us: start",
                                     "us: wait until it streams from primary (slot us)"));
}

}  // namespace
}  // namespace pgcascade::tree
