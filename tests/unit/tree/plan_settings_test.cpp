#include "unit/tree/plan_fixture.hpp"

namespace pgcascade::tree {
namespace {

using ::testing::ElementsAre;

using PlanSettingsTest = PlanFixture;

TEST_F(PlanSettingsTest, SettingThatNeedsNoRestartIsOnlySet) {
    everything_runs();
    node("eu").settings["work_mem"] = "8MB";
    EXPECT_THAT(steps(), ElementsAre("eu: set work_mem = 8MB"));
    setting("eu", "work_mem").value = "8192";
    EXPECT_TRUE(planned().is_empty());
}

TEST_F(PlanSettingsTest, RestartIsAnnouncedAndTheDownstreamsAreWaitedFor) {
    everything_runs();
    setting("primary", "wal_level").value = "replica";
    setting("eu", "wal_level").value = "replica";
    EXPECT_THAT(
        steps(),
        ElementsAre("primary: set wal_level = logical (needs a restart)", "primary: restart (for wal_level)",
                    "eu: set wal_level = logical (needs a restart)", "eu: restart (for wal_level)",
                    "eu: wait until it streams from primary (slot eu)",
                    "us: wait until it streams from primary (slot us)",
                    "eu-1: wait until it streams from eu (slot eu_1)"));
}

TEST_F(PlanSettingsTest, FileGoesBeforeWhatIsWantedOtherwise) {
    everything_runs();
    for (const Node& one : cascade_.nodes) {
        node(one.name).settings = {{"wal_level", "replica"}, {"hot_standby_feedback", "off"}};
        setting(one.name, "wal_level").value = "replica";
        setting(one.name, "hot_standby_feedback").value = "off";
    }
    EXPECT_TRUE(planned().is_empty());
}

TEST_F(PlanSettingsTest, ChangeThatWaitsForARestartIsStillADifference) {
    everything_runs();
    setting("primary", "wal_level").value = "replica";
    setting("primary", "wal_level").in_files = "logical";
    setting("primary", "wal_level").pending_restart = true;
    EXPECT_THAT(steps()[1], "primary: restart (for wal_level)");
}

TEST_F(PlanSettingsTest, ValueThatTheNextStartWouldLoseIsWritten) {
    everything_runs();
    setting("primary", "wal_level").in_files = "replica";
    EXPECT_THAT(steps(), ElementsAre("primary: set wal_level = logical"));
}

TEST_F(PlanSettingsTest, SettingOfTheSessionsRoleSaysNothingOfTheServer) {
    everything_runs();
    node("eu").settings["work_mem"] = "8MB";
    setting("eu", "work_mem").value = "1024";
    setting("eu", "work_mem").source = "user";
    setting("eu", "work_mem").in_files = "8MB";
    EXPECT_TRUE(planned().is_empty());
}

TEST_F(PlanSettingsTest, SettingOfTheCommandLineIsAProblem) {
    everything_runs();
    setting("primary", "wal_level").value = "replica";
    setting("primary", "wal_level").source = "command line";
    expect_problem("primary: wal_level is replica, not logical, and the server's command line says so",
                   "restart the server");
}

TEST_F(PlanSettingsTest, UnknownSettingIsAProblemUnlessAnExtensionMayHaveIt) {
    everything_runs();
    node("us").settings["wal_levl"] = "logical";
    expect_problem("us: PostgreSQL 18.4 has no setting \"wal_levl\"", "mend its name");
    node("us").settings = {{"auto_explain.log_min_duration", "1s"}};
    EXPECT_THAT(steps(), ElementsAre("us: set auto_explain.log_min_duration = 1s"));
}

TEST_F(PlanSettingsTest, SettingsBoundToThePrimaryAreRaisedOnStandbysFirst) {
    everything_runs();
    for (Node& one : cascade_.nodes) one.settings["max_connections"] = "200";
    EXPECT_THAT(
        steps(),
        ElementsAre(
            "eu: set max_connections = 200 (needs a restart)", "eu: restart (for max_connections)",
            "us: set max_connections = 200 (needs a restart)", "us: restart (for max_connections)",
            "eu-1: set max_connections = 200 (needs a restart)", "eu-1: restart (for max_connections)",
            "primary: set max_connections = 200 (needs a restart)", "primary: restart (for max_connections)",
            "eu: wait until it streams from primary (slot eu)",
            "us: wait until it streams from primary (slot us)",
            "eu-1: wait until it streams from eu (slot eu_1)"));
}

TEST_F(PlanSettingsTest, StandbyFollowsThePrimaryInWhatIsBoundToIt) {
    everything_runs();
    node("primary").settings["max_worker_processes"] = "16";
    const auto all = steps();
    EXPECT_EQ(all[0], "eu: set max_worker_processes = 16 (needs a restart)");
    EXPECT_EQ(all[6], "primary: set max_worker_processes = 16 (needs a restart)");
}

TEST_F(PlanSettingsTest, SettingsBoundToThePrimaryAreLoweredOnStandbysLast) {
    everything_runs();
    for (Node& one : cascade_.nodes) one.settings["max_connections"] = "50";
    EXPECT_THAT(
        steps(),
        ElementsAre("primary: set max_connections = 50 (needs a restart)",
                    "primary: restart (for max_connections)",
                    "eu: wait until it streams from primary (slot eu)",
                    "eu: wait until it has replayed what primary has written",
                    "eu: set max_connections = 50 (needs a restart)", "eu: restart (for max_connections)",
                    "eu: wait until it streams from primary (slot eu)",
                    "us: wait until it streams from primary (slot us)",
                    "us: wait until it has replayed what primary has written",
                    "us: set max_connections = 50 (needs a restart)", "us: restart (for max_connections)",
                    "us: wait until it streams from primary (slot us)",
                    "eu-1: wait until it streams from eu (slot eu_1)",
                    "eu-1: wait until it has replayed what primary has written",
                    "eu-1: set max_connections = 50 (needs a restart)", "eu-1: restart (for max_connections)",
                    "eu-1: wait until it streams from eu (slot eu_1)"));
}

TEST_F(PlanSettingsTest, StandbyBelowItsPrimaryIsAProblem) {
    everything_runs();
    node("eu").settings["max_connections"] = "50";
    expect_problem("eu: max_connections = 50 is below the primary's 100", "at least 100");
}

TEST_F(PlanSettingsTest, StandbyThatTakesNoConnectionsIsAProblem) {
    everything_runs();
    node("eu").settings["hot_standby"] = "off";
    setting("eu", "hot_standby").value = "off";
    expect_problem("eu: hot_standby = off in the file", "take it out");
}

TEST_F(PlanSettingsTest, SendersAndSlotsSufficeForTheDownstreams) {
    everything_runs();
    setting("eu", "max_wal_senders").value = "10";
    for (const char* name : {"primary", "eu", "us", "eu-1"})
        setting(name, "max_replication_slots").value = "5";
    // primary has two downstreams and needs 6, eu has one and needs 5.
    EXPECT_EQ(steps()[0], "primary: set max_replication_slots = 10 (needs a restart)");
    EXPECT_EQ(steps()[1], "primary: restart (for max_replication_slots)");
    EXPECT_THAT(steps()[2], "eu: wait until it streams from primary (slot eu)");
}

TEST_F(PlanSettingsTest, SlotsOfOthersNeedRoomToo) {
    everything_runs();
    for (int count = 0; count < 9; ++count) has_slot("us", "other" + std::to_string(count), true);
    EXPECT_TRUE(planned().is_empty());  // us has no downstreams: its 10 suffice for 9
    for (int count = 0; count < 9; ++count) has_slot("primary", "other" + std::to_string(count), true);
    EXPECT_EQ(steps()[0], "primary: set max_replication_slots = 15 (needs a restart)");
}

TEST_F(PlanSettingsTest, RestartElsewhereIsAProblem) {
    everything_runs();
    setting("primary", "wal_level").value = "replica";
    seen("primary").host = HostState{};
    node("primary").host = "10.0.0.1";
    expect_problem("primary: needs a restart for wal_level, and 10.0.0.1 is not this machine", "by hand");
}

}  // namespace
}  // namespace pgcascade::tree
