#include "unit/tree/plan_fixture.hpp"

namespace pgcascade::tree {
namespace {

using PlanCheckTest = PlanFixture;

TEST_F(PlanCheckTest, ForeignDirectoryIsNeverTouched) {
    everything_runs();
    seen("us").server.reset();
    seen("us").host.is_running = false;
    seen("us").host.directory = {Directory::State::kForeign, 0, 0, false};
    expect_problem("us: /srv/us is not empty and holds no cluster", "by hand");
}

TEST_F(PlanCheckTest, OtherClusterIsAProblem) {
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

TEST_F(PlanCheckTest, ClusterOfAStandbyWithoutAPrimaryIsAProblem) {
    has_cluster("us");
    expect_problem(
        "us: /srv/us belongs to another cluster: its system identifier is 7001, the primary does not "
        "exist yet");
}

TEST_F(PlanCheckTest, StandbysOfAPrimaryOutOfReachAreNotBlamed) {
    everything_runs();
    seen("primary") = NodeObservation{};
    seen("primary").unreachable = {"primary: can't connect: no route to host", "is it running?"};
    expect_problem("primary: can't connect: no route to host");
}

TEST_F(PlanCheckTest, StandbysAreNotComparedWithAStranger) {
    everything_runs();
    seen("primary").is_other_server = true;
    server("primary").system_identifier = 42;
    server("primary").data_directory = "/elsewhere";
    expect_problem("primary: at 127.0.0.1:6001 another server answers");
}

TEST_F(PlanCheckTest, OtherServerOnThePortIsAProblem) {
    everything_runs();
    seen("us").is_other_server = true;
    server("us").data_directory = "/elsewhere";
    expect_problem(
        "us: at 127.0.0.1:6003 another server answers: its data directory is /elsewhere, not /srv/us",
        "port");
}

TEST_F(PlanCheckTest, WrongRoleIsAProblem) {
    everything_runs();
    server("primary").in_recovery = true;
    expect_problem("primary: is a standby, and the file says it is the primary", "pg_promote");
    server("primary").in_recovery = false;
    server("us").in_recovery = false;
    expect_problem("us: is a primary, and the file says it is a standby of primary",
                   "empty its data directory");
}

TEST_F(PlanCheckTest, FormerPrimaryIsNotMadeAStandby) {
    everything_runs();
    seen("us").server.reset();
    seen("us").host.is_running = false;
    seen("us").host.directory.is_standby = false;
    expect_problem("us: /srv/us was a primary's", "may have changes");
}

TEST_F(PlanCheckTest, PartedHistoryIsAProblem) {
    everything_runs();
    server("us").receiver.reset();
    server("us").timeline = TimelineId{2};
    expect_problem("us: is on timeline 2, and primary on 1: their histories have parted", "empty");
}

TEST_F(PlanCheckTest, RefusedLoginIsAProblem) {
    everything_runs();
    seen("eu-1").server.reset();
    seen("eu-1").is_refused = true;
    seen("eu-1").unreachable = {"eu-1: can't connect: password authentication failed", "check the password"};
    expect_problem("eu-1: can't connect: password authentication failed", "check the password");
}

TEST_F(PlanCheckTest, OldVersionAndLackingRightsAreProblems) {
    everything_runs();
    server("primary").version = 140012;
    server("primary").version_name = "14.12";
    expect_problem("primary: PostgreSQL 14.12 is too old", "15");
    server("primary").version = 150018;
    server("primary").is_superuser = false;
    expect_problem("primary: role postgres is no superuser", "user");
}

TEST_F(PlanCheckTest, EveryProblemIsReportedAtOnce) {
    everything_runs();
    seen("us").is_other_server = true;
    server("eu-1").in_recovery = false;
    EXPECT_EQ(planned().problems.size(), 2U);
}

}  // namespace
}  // namespace pgcascade::tree
