#include "tree/plan.hpp"

#include <algorithm>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace pgcascade::tree {
namespace {

using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;
using Directory = postgres::DataDirectory;

constexpr std::uint64_t kCluster = 7001;

// primary -> eu, us; eu -> eu-1. Every node is missing until a test says otherwise.
class PlanTest : public ::testing::Test {
  protected:
    PlanTest() {
        cascade_.name = "shop";
        cascade_.file = "/srv/cascade.toml";
        cascade_.passfile = "/srv/passwords";
        add_node("primary", std::nullopt, 6001);
        cascade_.nodes.front().create = true;
        add_node("eu", "primary", 6002);
        add_node("us", "primary", 6003);
        add_node("eu-1", "eu", 6004);
    }

    void add_node(const std::string& name, std::optional<std::string> upstream, std::uint16_t port) {
        Node node;
        node.name = name;
        node.upstream = std::move(upstream);
        node.port = port;
        node.slot = name;
        std::replace(node.slot.begin(), node.slot.end(), '-', '_');
        node.data_directory = "/srv/" + name;
        cascade_.nodes.push_back(node);
        NodeObservation seen;
        seen.unreachable = {name + ": can't connect: refused", "is it running?"};
        seen.host.is_this_machine = true;
        seen.host.account = "postgres";
        observation_.nodes[name] = seen;
    }

    Node& node(const std::string& name) {
        return *std::find_if(cascade_.nodes.begin(), cascade_.nodes.end(),
                             [&](const Node& one) { return one.name == name; });
    }
    NodeObservation& seen(const std::string& name) { return observation_.nodes.at(name); }
    ServerState& server(const std::string& name) { return *seen(name).server; }
    Setting& setting(const std::string& node_name, const std::string& name) {
        return server(node_name).settings.at(name);
    }

    void has_cluster(const std::string& name) {
        HostState& host = seen(name).host;
        host.directory = {Directory::State::kCluster, 18, kCluster, name != "primary"};
        host.configured = {{"wal_level", "logical"},
                           {"hot_standby", "on"},
                           {"hot_standby_feedback", "on"},
                           {"max_connections", "100"},
                           {"max_worker_processes", "8"},
                           {"max_wal_senders", "10"},
                           {"max_replication_slots", "10"},
                           {"max_prepared_transactions", "0"},
                           {"max_locks_per_transaction", "64"},
                           {"port", std::to_string(node(name).port)},
                           {"primary_slot_name", node(name).slot}};
        for (const Node* child : cascade_.downstreams(name)) host.slots.insert(child->slot);
        if (!node(name).upstream) return;
        host.configured["primary_conninfo"] =
            "host=localhost port=" + std::to_string(cascade_.node(*node(name).upstream).port);
    }

    void add_setting(ServerState& state, const std::string& name, const std::string& value,
                     const std::string& type, const std::string& context) {
        Setting one;
        one.value = value;
        one.type = type;
        one.context = context;
        one.source = "configuration file";
        state.settings[name] = one;
    }

    // Answers, with the settings that plan() wants.
    void runs(const std::string& name) {
        has_cluster(name);
        seen(name).host.is_running = true;
        ServerState state;
        state.version = 180004;
        state.version_name = "18.4";
        state.system_identifier = kCluster;
        state.timeline = TimelineId{1};
        state.is_superuser = true;
        state.in_recovery = node(name).upstream.has_value();
        state.data_directory = "/srv/" + name;
        state.config_file = "/srv/" + name + "/postgresql.conf";
        state.replication_role = Role{true, true};
        add_setting(state, "wal_level", "logical", "enum", "postmaster");
        add_setting(state, "hot_standby", "on", "bool", "postmaster");
        add_setting(state, "hot_standby_feedback", "on", "bool", "sighup");
        for (const auto& [count, value] :
             std::map<std::string, std::string>{{"max_connections", "100"},
                                                {"max_worker_processes", "8"},
                                                {"max_wal_senders", "10"},
                                                {"max_replication_slots", "10"},
                                                {"max_prepared_transactions", "0"},
                                                {"max_locks_per_transaction", "64"}})
            add_setting(state, count, value, "integer", "postmaster");
        add_setting(state, "work_mem", "4096", "integer", "user");
        state.settings["work_mem"].unit = "kB";
        add_setting(state, "primary_slot_name", seen(name).host.configured["primary_slot_name"], "string",
                    "sighup");
        add_setting(state, "primary_conninfo", seen(name).host.configured["primary_conninfo"], "string",
                    "sighup");
        seen(name).server = state;
        seen(name).unreachable = {};
    }

    void has_slot(const std::string& name, const std::string& slot_name, bool active) {
        postgres::Slot slot;
        slot.name = slot_name;
        slot.active = active;
        slot.active_pid = active ? 4711 : 0;
        slot.restart_lsn = Lsn{1000};
        slot.wal_status = "reserved";
        server(name).slots.push_back(slot);
    }

    postgres::Slot& slot(const std::string& name, const std::string& slot_name) {
        auto& slots = server(name).slots;
        return *std::find_if(slots.begin(), slots.end(),
                             [&](const postgres::Slot& one) { return one.name == slot_name; });
    }

    // The standby streams from that node through that slot, as both ends say.
    void streams(const std::string& name, const std::string& upstream, const std::string& slot_name) {
        Receiver receiver;
        receiver.status = "streaming";
        receiver.slot = slot_name;
        server(name).receiver = receiver;
        has_slot(upstream, slot_name, true);
        Downstream downstream;
        downstream.slot = slot_name;
        downstream.state = "streaming";
        server(upstream).downstreams.push_back(downstream);
    }

    void everything_runs() {
        observation_.passfile = {.has_user = true, .has_replication_user = true, .problem = {}};
        for (const Node& one : cascade_.nodes) runs(one.name);
        for (const Node& one : cascade_.nodes)
            if (one.upstream) streams(one.name, *one.upstream, one.slot);
    }

    Plan planned() { return plan(cascade_, observation_); }

    std::vector<std::string> steps() {
        const Plan made = planned();
        for (const Problem& problem : made.problems) ADD_FAILURE() << "problem: " << problem.what;
        std::vector<std::string> texts;
        for (const Step& step : made.steps) texts.push_back(text(step));
        return texts;
    }

    // The only problem, and no step.
    void expect_problem(const std::string& what, const std::string& hint = {}) {
        const Plan made = planned();
        EXPECT_THAT(made.steps, IsEmpty());
        ASSERT_EQ(made.problems.size(), 1U);
        EXPECT_THAT(made.problems[0].what, HasSubstr(what));
        EXPECT_THAT(made.problems[0].hint, HasSubstr(hint));
    }

    Cascade cascade_;
    Observation observation_;
};

// ── making ─────────────────────────────────────────────────────────────────────────────────────────────

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

// ── starting ───────────────────────────────────────────────────────────────────────────────────────────

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

// ── settings ───────────────────────────────────────────────────────────────────────────────────────────

TEST_F(PlanTest, SettingThatNeedsNoRestartIsOnlySet) {
    everything_runs();
    node("eu").settings["work_mem"] = "8MB";
    EXPECT_THAT(steps(), ElementsAre("eu: set work_mem = 8MB"));
    setting("eu", "work_mem").value = "8192";
    EXPECT_TRUE(planned().is_empty());
}

TEST_F(PlanTest, RestartIsAnnouncedAndTheDownstreamsAreWaitedFor) {
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

TEST_F(PlanTest, FileGoesBeforeWhatIsWantedOtherwise) {
    everything_runs();
    for (const Node& one : cascade_.nodes) {
        node(one.name).settings = {{"wal_level", "replica"}, {"hot_standby_feedback", "off"}};
        setting(one.name, "wal_level").value = "replica";
        setting(one.name, "hot_standby_feedback").value = "off";
    }
    EXPECT_TRUE(planned().is_empty());
}

TEST_F(PlanTest, ChangeThatWaitsForARestartIsStillADifference) {
    everything_runs();
    setting("primary", "wal_level").value = "replica";
    setting("primary", "wal_level").in_files = "logical";
    setting("primary", "wal_level").pending_restart = true;
    EXPECT_THAT(steps()[1], "primary: restart (for wal_level)");
}

TEST_F(PlanTest, ValueThatTheNextStartWouldLoseIsWritten) {
    everything_runs();
    setting("primary", "wal_level").in_files = "replica";
    EXPECT_THAT(steps(), ElementsAre("primary: set wal_level = logical"));
}

TEST_F(PlanTest, SettingOfTheSessionsRoleSaysNothingOfTheServer) {
    everything_runs();
    node("eu").settings["work_mem"] = "8MB";
    setting("eu", "work_mem").value = "1024";
    setting("eu", "work_mem").source = "user";
    setting("eu", "work_mem").in_files = "8MB";
    EXPECT_TRUE(planned().is_empty());
}

TEST_F(PlanTest, SettingOfTheCommandLineIsAProblem) {
    everything_runs();
    setting("primary", "wal_level").value = "replica";
    setting("primary", "wal_level").source = "command line";
    expect_problem("primary: wal_level is replica, not logical, and the server's command line says so",
                   "restart the server");
}

TEST_F(PlanTest, UnknownSettingIsAProblemUnlessAnExtensionMayHaveIt) {
    everything_runs();
    node("us").settings["wal_levl"] = "logical";
    expect_problem("us: PostgreSQL 18.4 has no setting \"wal_levl\"", "mend its name");
    node("us").settings = {{"auto_explain.log_min_duration", "1s"}};
    EXPECT_THAT(steps(), ElementsAre("us: set auto_explain.log_min_duration = 1s"));
}

TEST_F(PlanTest, SettingsBoundToThePrimaryAreRaisedOnStandbysFirst) {
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

TEST_F(PlanTest, StandbyFollowsThePrimaryInWhatIsBoundToIt) {
    everything_runs();
    node("primary").settings["max_worker_processes"] = "16";
    const auto all = steps();
    EXPECT_EQ(all[0], "eu: set max_worker_processes = 16 (needs a restart)");
    EXPECT_EQ(all[6], "primary: set max_worker_processes = 16 (needs a restart)");
}

TEST_F(PlanTest, SettingsBoundToThePrimaryAreLoweredOnStandbysLast) {
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

TEST_F(PlanTest, StandbyBelowItsPrimaryIsAProblem) {
    everything_runs();
    node("eu").settings["max_connections"] = "50";
    expect_problem("eu: max_connections = 50 is below the primary's 100", "at least 100");
}

TEST_F(PlanTest, StandbyThatTakesNoConnectionsIsAProblem) {
    everything_runs();
    node("eu").settings["hot_standby"] = "off";
    setting("eu", "hot_standby").value = "off";
    expect_problem("eu: hot_standby = off in the file", "take it out");
}

TEST_F(PlanTest, SendersAndSlotsSufficeForTheDownstreams) {
    everything_runs();
    setting("eu", "max_wal_senders").value = "10";
    for (const char* name : {"primary", "eu", "us", "eu-1"})
        setting(name, "max_replication_slots").value = "5";
    // primary has two downstreams and needs 6, eu has one and needs 5.
    EXPECT_EQ(steps()[0], "primary: set max_replication_slots = 10 (needs a restart)");
    EXPECT_EQ(steps()[1], "primary: restart (for max_replication_slots)");
    EXPECT_THAT(steps()[2], "eu: wait until it streams from primary (slot eu)");
}

TEST_F(PlanTest, SlotsOfOthersNeedRoomToo) {
    everything_runs();
    for (int count = 0; count < 9; ++count) has_slot("us", "other" + std::to_string(count), true);
    EXPECT_TRUE(planned().is_empty());  // us has no downstreams: its 10 suffice for 9
    for (int count = 0; count < 9; ++count) has_slot("primary", "other" + std::to_string(count), true);
    EXPECT_EQ(steps()[0], "primary: set max_replication_slots = 15 (needs a restart)");
}

TEST_F(PlanTest, RestartElsewhereIsAProblem) {
    everything_runs();
    setting("primary", "wal_level").value = "replica";
    seen("primary").host = HostState{};
    node("primary").host = "10.0.0.1";
    expect_problem("primary: needs a restart for wal_level, and 10.0.0.1 is not this machine", "by hand");
}

// ── role, pg_hba.conf, slots ───────────────────────────────────────────────────────────────────────────

TEST_F(PlanTest, MissingRoleIsMadeWithAPasswordOfTheFile) {
    everything_runs();
    server("primary").replication_role.reset();
    observation_.passfile.has_replication_user = false;
    EXPECT_THAT(steps(),
                ElementsAre("generate the password of replicator and write /srv/passwords (mode 0600)",
                            "primary: create role replicator (LOGIN REPLICATION, with the password of the "
                            "passfile)"));
    cascade_.passfile.reset();
    EXPECT_THAT(steps(),
                ElementsAre("primary: create role replicator (LOGIN REPLICATION, without a password)"));
}

TEST_F(PlanTest, RoleWithoutItsRightsGetsThem) {
    everything_runs();
    server("primary").replication_role = Role{true, false};
    EXPECT_THAT(steps(), ElementsAre("primary: give role replicator LOGIN REPLICATION"));
}

TEST_F(PlanTest, LineIsAddedOnlyWhereNoneLetsIn) {
    everything_runs();
    seen("us") = NodeObservation{};
    seen("us").host.is_this_machine = true;
    slot("primary", "us").active = false;
    seen("primary").replication_login = {ReplicationLogin::Outcome::kWorks, {}};
    EXPECT_EQ(steps()[0], "primary: clone us into /srv/us");
    seen("primary").replication_login = {ReplicationLogin::Outcome::kNoHbaLine, {"no pg_hba.conf entry", {}}};
    EXPECT_EQ(steps()[0],
              "primary: add to pg_hba.conf: host replication replicator 127.0.0.1/32 scram-sha-256");
}

TEST_F(PlanTest, LineForOtherAddressesIsAddedToNewServers) {
    for (Node& one : cascade_.nodes) one.host = "10.0.0.1";
    for (const Node& one : cascade_.nodes) seen(one.name).host.is_this_machine = true;
    const auto all = steps();
    EXPECT_EQ(all[1],
              "primary: create a cluster in /srv/primary with cluster_name = primary, listen_addresses = "
              "10.0.0.1, port = 6001, wal_level = logical, and in pg_hba.conf: host all postgres "
              "10.0.0.1/32 scram-sha-256");
    EXPECT_EQ(all[4], "primary: add to pg_hba.conf: host replication replicator 10.0.0.1/32 scram-sha-256");
    // The clone brings the line along.
    EXPECT_EQ(std::count_if(
                  all.begin(), all.end(),
                  [](const std::string& line) { return line.find("add to pg_hba") != std::string::npos; }),
              1);
}

TEST_F(PlanTest, ServerThatIsDownGetsTheLineOnceItShowsThatItLacksIt) {
    for (Node& one : cascade_.nodes) one.host = "10.0.0.1";
    for (const Node& one : cascade_.nodes) seen(one.name).host.is_this_machine = true;
    has_cluster("primary");
    const std::string line =
        "primary: add to pg_hba.conf (where the replication role is refused): host replication replicator "
        "10.0.0.1/32 scram-sha-256";
    EXPECT_THAT(steps(), ::testing::Contains(line));
    // Who has been cloned has been let in.
    for (const Node& one : cascade_.nodes) has_cluster(one.name);
    EXPECT_THAT(steps(), Not(::testing::Contains(HasSubstr("pg_hba.conf"))));
}

TEST_F(PlanTest, LineForALoopbackAddressNamesTheOneThatIsCalledFrom) {
    for (Node& one : cascade_.nodes) one.host = "127.0.0.2";
    has_cluster("primary");
    EXPECT_THAT(steps(), ::testing::Contains(HasSubstr("replicator 127.0.0.1/32 scram-sha-256")));
}

TEST_F(PlanTest, RefusedReplicationRoleIsAProblem) {
    everything_runs();
    seen("us").server.reset();
    seen("us").host.is_running = false;
    slot("primary", "us").active = false;
    seen("primary").replication_login = {ReplicationLogin::Outcome::kRefused,
                                         {"primary: can't connect: password authentication failed", "check"}};
    expect_problem(
        "us: the replication role replicator can't log in at primary: primary: can't connect: password",
        "check");
    // Before it has its rights, that says nothing.
    server("primary").replication_role->can_replicate = false;
    EXPECT_EQ(steps()[0], "primary: give role replicator LOGIN REPLICATION");
}

TEST_F(PlanTest, UnreadablePassfileIsAProblemOnlyForWhoNeedsIt) {
    everything_runs();
    seen("us").host.passfile_problem = Problem{"/srv/passwords can be read by others", "chmod 600"};
    EXPECT_TRUE(planned().is_empty());
    seen("us").server.reset();
    seen("us").host.is_running = false;
    slot("primary", "us").active = false;
    expect_problem("us: /srv/passwords can be read by others", "chmod 600");
}

TEST_F(PlanTest, SlotThatIsLostIsAProblemForAStandbyThatIsThere) {
    everything_runs();
    server("us").receiver.reset();
    server("primary").downstreams.erase(server("primary").downstreams.begin() + 1);
    slot("primary", "us").active = false;
    slot("primary", "us").wal_status = "lost";
    expect_problem("us: primary has removed WAL that it still needs (slot us: lost)",
                   "empty its data directory");
}

TEST_F(PlanTest, SlotInOtherHandsIsAProblem) {
    everything_runs();
    seen("us") = NodeObservation{};
    seen("us").host.is_this_machine = true;
    expect_problem("us: its slot us on primary is used by process 4711", "another slot");
    slot("primary", "us").active = false;
    slot("primary", "us").type = postgres::Slot::Type::kLogical;
    expect_problem("us: its slot us is a logical one on primary", "another slot");
}

// ── adoption and moving ────────────────────────────────────────────────────────────────────────────────

TEST_F(PlanTest, AdoptedStandbyNeedsNoConninfoOfOurs) {
    everything_runs();
    setting("eu", "primary_conninfo").value = "service=mine";
    EXPECT_TRUE(planned().is_empty());
}

TEST_F(PlanTest, StandbyWithoutASlotGetsOne) {
    everything_runs();
    server("us").receiver->slot = "";
    server("primary").downstreams[1].slot = "";
    server("primary").slots.erase(server("primary").slots.begin() + 1);
    EXPECT_THAT(steps(), ElementsAre("primary: create physical slot us for us",
                                     "us: stream from primary through slot us",
                                     "us: wait until it streams from primary (slot us)"));
}

TEST_F(PlanTest, SlotOfAnotherNameIsDroppedOnceTheStandbyHasLeftIt) {
    everything_runs();
    server("us").receiver->slot = "by_hand";
    slot("primary", "us").name = "by_hand";
    server("primary").downstreams[1].slot = "by_hand";
    EXPECT_THAT(steps(), ElementsAre("primary: create physical slot us for us",
                                     "us: stream from primary through slot us",
                                     "us: wait until it streams from primary (slot us)",
                                     "primary: drop physical slot by_hand, which us uses no longer"));
}

TEST_F(PlanTest, MovedStandbyStreamsBeforeItsOldSlotGoes) {
    everything_runs();
    node("eu-1").upstream = "us";
    EXPECT_THAT(steps(), ElementsAre("us: create physical slot eu_1 for eu-1",
                                     "eu-1: stream from us through slot eu_1 instead of from eu",
                                     "eu-1: wait until it streams from us (slot eu_1)",
                                     "eu: drop physical slot eu_1, which eu-1 uses no longer"));
}

TEST_F(PlanTest, SlotLeftOverFromAMoveIsDropped) {
    everything_runs();
    has_slot("us", "eu_1", false);
    EXPECT_THAT(steps(), ElementsAre("us: drop physical slot eu_1, which eu-1 uses no longer"));
    slot("us", "eu_1").active = true;
    EXPECT_TRUE(planned().is_empty());
}

TEST_F(PlanTest, SlotsOfOthersAreLeftAlone) {
    everything_runs();
    has_slot("us", "somebody", false);
    has_slot("primary", "else", false);
    EXPECT_TRUE(planned().is_empty());
}

TEST_F(PlanTest, SwappedSlotsAreAProblem) {
    everything_runs();
    std::swap(node("eu").slot, node("us").slot);
    const Plan made = planned();
    EXPECT_THAT(made.steps, IsEmpty());
    ASSERT_EQ(made.problems.size(), 2U);
    EXPECT_THAT(made.problems[0].what, HasSubstr("eu: its slot us on primary is used by process 4711"));
}

TEST_F(PlanTest, MiddleNodeThatIsMadeAnewGetsTheSlotsOfItsDownstreams) {
    everything_runs();
    seen("eu") = NodeObservation{};
    seen("eu").host.is_this_machine = true;
    slot("primary", "eu").active = false;
    server("eu-1").receiver.reset();
    EXPECT_THAT(steps(), ElementsAre("primary: clone eu into /srv/eu",
                                     "eu: make it a standby of primary (slot eu) with cluster_name = eu, "
                                     "listen_addresses = 127.0.0.1, port = 6002",
                                     "eu: start", "eu: wait until it streams from primary (slot eu)",
                                     "eu: create physical slot eu_1 for eu-1",
                                     "eu-1: wait until it streams from eu (slot eu_1)"));
}

TEST_F(PlanTest, AttachedMeansBothEndsSaySo) {
    everything_runs();
    EXPECT_TRUE(is_attached(node("eu"), observation_));
    server("primary").downstreams[0].state = "backup";
    EXPECT_FALSE(is_attached(node("eu"), observation_));
    server("primary").downstreams[0].state = "catchup";
    EXPECT_TRUE(is_attached(node("eu"), observation_));
    server("eu").receiver.reset();
    EXPECT_FALSE(is_attached(node("eu"), observation_));
}

// ── what a person has to mend ──────────────────────────────────────────────────────────────────────────

TEST_F(PlanTest, ForeignDirectoryIsNeverTouched) {
    everything_runs();
    seen("us").server.reset();
    seen("us").host.is_running = false;
    seen("us").host.directory = {Directory::State::kForeign, 0, 0, false};
    expect_problem("us: /srv/us is not empty and holds no cluster", "by hand");
}

TEST_F(PlanTest, OtherClusterIsAProblem) {
    everything_runs();
    server("us").system_identifier = 42;
    expect_problem(
        "us: /srv/us belongs to another cluster: its system identifier is 42, the primary's is 7001",
        "by hand");
    seen("us").server.reset();
    seen("us").host.is_running = false;
    seen("us").host.directory.system_identifier = 43;
    expect_problem("its system identifier is 43");
}

TEST_F(PlanTest, ClusterOfAStandbyWithoutAPrimaryIsAProblem) {
    has_cluster("us");
    expect_problem(
        "us: /srv/us belongs to another cluster: its system identifier is 7001, the primary does not "
        "exist yet");
}

TEST_F(PlanTest, OtherServerOnThePortIsAProblem) {
    everything_runs();
    seen("us").is_other_server = true;
    server("us").data_directory = "/elsewhere";
    expect_problem(
        "us: at 127.0.0.1:6003 another server answers: its data directory is /elsewhere, not /srv/us",
        "port");
}

TEST_F(PlanTest, WrongRoleIsAProblem) {
    everything_runs();
    server("primary").in_recovery = true;
    expect_problem("primary: is a standby, and the file says it is the primary", "pg_promote");
    server("primary").in_recovery = false;
    server("us").in_recovery = false;
    expect_problem("us: is a primary, and the file says it is a standby of primary",
                   "empty its data directory");
}

TEST_F(PlanTest, FormerPrimaryIsNotMadeAStandby) {
    everything_runs();
    seen("us").server.reset();
    seen("us").host.is_running = false;
    seen("us").host.directory.is_standby = false;
    expect_problem("us: /srv/us was a primary's", "may have changes");
}

TEST_F(PlanTest, PartedHistoryIsAProblem) {
    everything_runs();
    server("us").receiver.reset();
    server("us").timeline = TimelineId{2};
    expect_problem("us: is on timeline 2, and primary on 1: their histories have parted", "empty");
}

TEST_F(PlanTest, RefusedLoginIsAProblem) {
    everything_runs();
    seen("eu-1").server.reset();
    seen("eu-1").is_refused = true;
    seen("eu-1").unreachable = {"eu-1: can't connect: password authentication failed", "check the password"};
    expect_problem("eu-1: can't connect: password authentication failed", "check the password");
}

TEST_F(PlanTest, OldVersionAndLackingRightsAreProblems) {
    everything_runs();
    server("primary").version = 140012;
    server("primary").version_name = "14.12";
    expect_problem("primary: PostgreSQL 14.12 is too old", "15");
    server("primary").version = 150018;
    server("primary").is_superuser = false;
    expect_problem("primary: role postgres is no superuser", "user");
}

TEST_F(PlanTest, EveryProblemIsReportedAtOnce) {
    everything_runs();
    seen("us").is_other_server = true;
    server("eu-1").in_recovery = false;
    EXPECT_EQ(planned().problems.size(), 2U);
}

}  // namespace
}  // namespace pgcascade::tree
