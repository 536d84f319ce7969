#include "unit/tree/plan_fixture.hpp"

namespace pgcascade::tree {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

using PlanSlotsTest = PlanFixture;

TEST_F(PlanSlotsTest, SlotThatIsLostIsAProblemForAStandbyThatIsThere) {
    everything_runs();
    server("us").receiver.reset();
    server("primary").downstreams.erase(server("primary").downstreams.begin() + 1);
    slot("primary", "us").active = false;
    slot("primary", "us").wal_status = "lost";
    expect_problem("us: primary has removed WAL that it still needs (slot us: lost)",
                   "empty its data directory");
}

TEST_F(PlanSlotsTest, SlotInOtherHandsIsAProblem) {
    everything_runs();
    seen("us") = NodeObservation{};
    seen("us").host.is_this_machine = true;
    expect_problem("us: its slot us on primary is used by process 4711", "another slot");
    slot("primary", "us").active = false;
    slot("primary", "us").type = postgres::Slot::Type::kLogical;
    expect_problem("us: its slot us is a logical one on primary", "another slot");
}

TEST_F(PlanSlotsTest, AdoptedStandbyNeedsNoConninfoOfOurs) {
    everything_runs();
    setting("eu", "primary_conninfo").value = "service=mine";
    EXPECT_TRUE(planned().is_empty());
}

TEST_F(PlanSlotsTest, StandbyWithoutASlotGetsOne) {
    everything_runs();
    server("us").receiver->slot = "";
    server("primary").downstreams[1].slot = "";
    server("primary").slots.erase(server("primary").slots.begin() + 1);
    EXPECT_THAT(steps(), ElementsAre("primary: create physical slot us for us",
                                     "us: stream from primary through slot us",
                                     "us: wait until it streams from primary (slot us)"));
}

TEST_F(PlanSlotsTest, SlotOfAnotherNameIsDroppedOnceTheStandbyHasLeftIt) {
    everything_runs();
    server("us").receiver->slot = "by_hand";
    slot("primary", "us").name = "by_hand";
    server("primary").downstreams[1].slot = "by_hand";
    EXPECT_THAT(steps(), ElementsAre("primary: create physical slot us for us",
                                     "us: stream from primary through slot us",
                                     "us: wait until it streams from primary (slot us)",
                                     "primary: drop physical slot by_hand, which us uses no longer"));
}

TEST_F(PlanSlotsTest, MovedStandbyStreamsBeforeItsOldSlotGoes) {
    everything_runs();
    node("eu-1").upstream = "us";
    EXPECT_THAT(steps(), ElementsAre("us: create physical slot eu_1 for eu-1",
                                     "eu-1: stream from us through slot eu_1 instead of from eu",
                                     "eu-1: wait until it streams from us (slot eu_1)",
                                     "eu: drop physical slot eu_1, which eu-1 uses no longer"));
}

TEST_F(PlanSlotsTest, SlotLeftOverFromAMoveIsDropped) {
    everything_runs();
    has_slot("us", "eu_1", false);
    EXPECT_THAT(steps(), ElementsAre("us: drop physical slot eu_1, which eu-1 uses no longer"));
    slot("us", "eu_1").active = true;
    EXPECT_TRUE(planned().is_empty());
}

TEST_F(PlanSlotsTest, SlotsOfOthersAreLeftAlone) {
    everything_runs();
    has_slot("us", "somebody", false);
    has_slot("primary", "else", false);
    EXPECT_TRUE(planned().is_empty());
}

TEST_F(PlanSlotsTest, SwappedSlotsAreAProblem) {
    everything_runs();
    std::swap(node("eu").slot, node("us").slot);
    const Plan made = planned();
    EXPECT_THAT(made.steps, IsEmpty());
    ASSERT_EQ(made.problems.size(), 2U);
    EXPECT_THAT(made.problems[0].what, HasSubstr("eu: its slot us on primary is used by process 4711"));
}

TEST_F(PlanSlotsTest, MiddleNodeThatIsMadeAnewGetsTheSlotsOfItsDownstreams) {
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

TEST_F(PlanSlotsTest, AttachedMeansBothEndsSaySo) {
    everything_runs();
    EXPECT_TRUE(is_attached(node("eu"), observation_));
    server("primary").downstreams[0].state = "backup";
    EXPECT_FALSE(is_attached(node("eu"), observation_));
    server("primary").downstreams[0].state = "catchup";
    EXPECT_TRUE(is_attached(node("eu"), observation_));
    server("eu").receiver.reset();
    EXPECT_FALSE(is_attached(node("eu"), observation_));
}

}  // namespace
}  // namespace pgcascade::tree
