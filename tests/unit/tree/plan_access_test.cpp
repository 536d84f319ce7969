#include "unit/tree/plan_fixture.hpp"

namespace pgcascade::tree {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

using PlanAccessTest = PlanFixture;

TEST_F(PlanAccessTest, MissingRoleIsMadeWithAPasswordOfTheFile) {
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

TEST_F(PlanAccessTest, RoleWithoutItsRightsGetsThem) {
    everything_runs();
    server("primary").replication_role = Role{true, false};
    EXPECT_THAT(steps(), ElementsAre("primary: give role replicator LOGIN REPLICATION"));
}

TEST_F(PlanAccessTest, LineIsAddedOnlyWhereNoneLetsIn) {
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

TEST_F(PlanAccessTest, LineForOtherAddressesIsAddedToNewServers) {
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

TEST_F(PlanAccessTest, ServerThatIsDownGetsTheLineOnceItShowsThatItLacksIt) {
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

TEST_F(PlanAccessTest, LineForALoopbackAddressNamesTheOneThatIsCalledFrom) {
    for (Node& one : cascade_.nodes) one.host = "127.0.0.2";
    has_cluster("primary");
    EXPECT_THAT(steps(), ::testing::Contains(HasSubstr("replicator 127.0.0.1/32 scram-sha-256")));
}

TEST_F(PlanAccessTest, RefusedReplicationRoleIsAProblem) {
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

TEST_F(PlanAccessTest, UnreadablePassfileIsAProblemOnlyForWhoNeedsIt) {
    everything_runs();
    seen("us").host.passfile_problem = Problem{"/srv/passwords can be read by others", "chmod 600"};
    EXPECT_TRUE(planned().is_empty());
    seen("us").server.reset();
    seen("us").host.is_running = false;
    slot("primary", "us").active = false;
    expect_problem("us: /srv/passwords can be read by others", "chmod 600");
}

}  // namespace
}  // namespace pgcascade::tree
