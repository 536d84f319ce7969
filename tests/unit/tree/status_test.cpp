#include "tree/status.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidjson/document.h>

#include <pgcascade/error.hpp>

namespace pgcascade::tree {

using testing::ElementsAre;
using testing::HasSubstr;

namespace {

constexpr std::int64_t kMs = 1000;

Node make_node(const std::string& name, std::optional<std::string> upstream, std::uint16_t port) {
    Node node;
    node.name = name;
    node.upstream = std::move(upstream);
    node.port = port;
    node.data_directory = "/srv/" + name;
    node.slot = name;
    return node;
}

postgres::Slot make_slot(const std::string& name) {
    postgres::Slot slot;
    slot.name = name;
    slot.active = true;
    slot.wal_status = "reserved";
    return slot;
}

Downstream fed(const std::string& name, Lsn position) {
    Downstream downstream;
    downstream.application_name = name;
    downstream.slot = name;
    downstream.state = "streaming";
    downstream.sent = downstream.written = downstream.flushed = downstream.replayed = position;
    return downstream;
}

NodeObservation primary_at(Lsn end) {
    NodeObservation seen;
    seen.server.emplace();
    seen.server->system_identifier = 7;
    seen.server->timeline = TimelineId{1};
    seen.server->flushed = end;
    return seen;
}

NodeObservation standby_at(Lsn position, int upstream_port) {
    NodeObservation seen = primary_at(position);
    seen.server->in_recovery = true;
    seen.server->flushed.reset();
    seen.server->received = seen.server->replayed = position;
    seen.server->receiver = Receiver{.status = "streaming",
                                     .slot = {},
                                     .sender_host = "127.0.0.1",
                                     .sender_port = upstream_port,
                                     .timeline = TimelineId{1},
                                     .written = position,
                                     .flushed = position,
                                     .latest_end = position};
    return seen;
}

// primary -> eu -> eu1, all well at 0/1000.
class StatusTest : public testing::Test {
  protected:
    StatusTest() {
        cascade_.name = "shop";
        cascade_.file = "/etc/shop.toml";
        cascade_.nodes = {make_node("primary", std::nullopt, 6001), make_node("eu", "primary", 6002),
                          make_node("eu1", "eu", 6003)};
        seen("primary") = primary_at(Lsn{0x1000});
        seen("eu") = standby_at(Lsn{0x1000}, 6001);
        seen("eu1") = standby_at(Lsn{0x1000}, 6002);
        server("primary").slots = {make_slot("eu")};
        server("primary").downstreams = {fed("eu", Lsn{0x1000})};
        server("eu").slots = {make_slot("eu1")};
        server("eu").downstreams = {fed("eu1", Lsn{0x1000})};
    }

    NodeObservation& seen(const std::string& name) { return observation_.nodes[name]; }
    ServerState& server(const std::string& name) { return *seen(name).server; }

    NodeStatus judge(const std::string& name) const { return status_of(cascade_, observation_).node(name); }
    std::string problems(const std::string& name) const {
        std::string text;
        for (const Problem& problem : judge(name).problems) text += problem.what + "\n";
        return text;
    }

    Cascade cascade_;
    Observation observation_;
};

}  // namespace

TEST_F(StatusTest, TreeThatIsWellHasNoProblems) {
    const TreeStatus status = status_of(cascade_, observation_);
    EXPECT_TRUE(status.all_answer());
    for (const NodeStatus& node : status.nodes) {
        EXPECT_EQ(node.health, Health::kGood) << node.node->name;
        EXPECT_TRUE(node.problems.empty()) << node.node->name;
    }
    EXPECT_EQ(status.node("primary").state, "running");
    EXPECT_FALSE(status.node("primary").lag);
    EXPECT_EQ(status.node("eu1").state, "streaming");
    EXPECT_EQ(status.node("eu1").lag->bytes, 0);
    EXPECT_EQ(status.node("eu1").lag->time_us, 0);
}

TEST_F(StatusTest, LagIsMeasuredFromTheUpstreamNotFromThePrimary) {
    server("primary").flushed = Lsn{0x5000};
    server("eu").received = Lsn{0x4000};
    server("eu").replayed = Lsn{0x3000};
    server("eu1").replayed = Lsn{0x2800};
    server("primary").downstreams[0].replay_lag_us = 30 * kMs;
    EXPECT_EQ(judge("eu").lag->bytes, 0x2000);
    EXPECT_EQ(judge("eu").lag->time_us, 30 * kMs);
    EXPECT_EQ(judge("eu1").lag->bytes, 0x1800) << "eu passes on what it has received, replayed or not";
}

TEST_F(StatusTest, NodeThatWasAskedLaterIsNotAhead) {
    server("eu").replayed = server("eu").received = Lsn{0x1100};
    EXPECT_EQ(judge("eu").lag->bytes, 0);
}

TEST_F(StatusTest, TimeLagThatTheUpstreamHasForgottenIsTheAgeOfTheLastCommit) {
    server("eu").replayed = Lsn{0x800};
    server("eu").last_replayed_age_us = 90 * kMs;
    EXPECT_EQ(judge("eu").lag->time_us, 90 * kMs);
}

TEST_F(StatusTest, UpstreamThatIsSilentLeavesWhatTheReceiverHeardLast) {
    seen("eu").server.reset();
    seen("eu").unreachable = {"eu: can't connect", "start it"};
    server("eu1").receiver->latest_end = Lsn{0x1800};
    const TreeStatus status = status_of(cascade_, observation_);
    EXPECT_FALSE(status.all_answer());
    EXPECT_EQ(status.node("eu1").lag->bytes, 0x800);
    EXPECT_EQ(status.node("eu").state, "unreachable");
    EXPECT_EQ(status.node("eu").health, Health::kBad);
    EXPECT_THAT(problems("eu"), HasSubstr("can't connect"));
}

TEST_F(StatusTest, SilentNodeSaysWhatItsHostKnows) {
    using State = postgres::DataDirectory::State;
    NodeObservation& eu = seen("eu");
    eu.server.reset();
    const auto state = [&](bool is_here, State directory, bool is_running) {
        eu.host.is_this_machine = is_here;
        eu.host.directory.state = directory;
        eu.host.is_running = is_running;
        return judge("eu").state;
    };
    EXPECT_EQ(state(false, State::kMissing, false), "unreachable");
    EXPECT_EQ(state(true, State::kMissing, false), "missing");
    EXPECT_EQ(state(true, State::kPartialClone, false), "unfinished");
    EXPECT_EQ(state(true, State::kCluster, false), "stopped");
    EXPECT_EQ(state(true, State::kCluster, true), "unreachable");
    eu.is_refused = true;
    EXPECT_EQ(state(true, State::kCluster, true), "refused");
    eu.is_starting = true;
    EXPECT_EQ(state(true, State::kCluster, true), "starting");
}

TEST_F(StatusTest, RolesThatTheFileDoesNotNameAreProblems) {
    seen("eu") = primary_at(Lsn{0x1000});
    EXPECT_THAT(problems("eu"), HasSubstr("is a primary"));
    seen("primary") = standby_at(Lsn{0x1000}, 1);
    EXPECT_THAT(problems("primary"), HasSubstr("is a standby"));
}

TEST_F(StatusTest, StandbyOfSomebodyElseIsTold) {
    server("eu1").receiver->sender_port = 6001;
    EXPECT_EQ(judge("eu1").health, Health::kWarning);
    EXPECT_THAT(problems("eu1"), HasSubstr("127.0.0.1:6001, not from eu"));
    server("eu1").system_identifier = 8;
    EXPECT_THAT(problems("eu1"), HasSubstr("another cluster"));
}

TEST_F(StatusTest, StandbyWithoutItsSlotIsWarnedOf) {
    server("primary").slots.clear();
    EXPECT_THAT(problems("eu"), HasSubstr("no slot \"eu\" on primary"));
    server("primary").slots = {make_slot("eu")};
    server("primary").slots[0].active = false;
    EXPECT_THAT(problems("eu"), HasSubstr("does not use its slot"));
}

TEST_F(StatusTest, LostSlotsAreTold) {
    postgres::Slot slot = make_slot("orders");
    slot.invalidation_reason = "wal_removed";
    server("eu").slots.push_back(slot);
    EXPECT_THAT(problems("eu"), HasSubstr("\"orders\" is invalidated (wal_removed)"));
}

TEST_F(StatusTest, OthersThatANodeFeedsAreKeptApart) {
    server("eu").downstreams.push_back(fed("orders", Lsn{0xC00}));
    Downstream backup;
    backup.state = "backup";
    server("eu").downstreams.push_back(backup);
    const TreeStatus status = status_of(cascade_, observation_);
    ASSERT_EQ(status.node("eu").others.size(), 1U);
    EXPECT_EQ(status.node("eu").others[0]->application_name, "orders");
    EXPECT_EQ(lag_of(server("eu"), *status.node("eu").others[0]).bytes, 0x400);
}

TEST_F(StatusTest, JsonHasTheSameKeysForEveryNode) {
    seen("eu1").server.reset();
    rapidjson::Document json;
    json.Parse(to_json(status_of(cascade_, observation_)).c_str());
    ASSERT_FALSE(json.HasParseError());
    std::vector<std::vector<std::string>> keys;
    for (const auto& node : json["nodes"].GetArray()) {
        keys.emplace_back();
        for (const auto& member : node.GetObject()) keys.back().emplace_back(member.name.GetString());
    }
    ASSERT_EQ(keys.size(), 3U);
    EXPECT_EQ(keys[0], keys[1]);
    EXPECT_EQ(keys[0], keys[2]);
    EXPECT_TRUE(json["nodes"][2]["lsn"].IsNull());
    EXPECT_FALSE(json["all_answer"].GetBool());
}

TEST_F(StatusTest, NodesComeDepthFirst) {
    cascade_.nodes.push_back(make_node("us", "primary", 6004));
    cascade_.nodes.push_back(make_node("eu2", "eu", 6005));
    seen("us");
    seen("eu2");
    std::vector<std::string> names;
    for (const NodeStatus& node : status_of(cascade_, observation_).nodes) names.push_back(node.node->name);
    EXPECT_THAT(names, ElementsAre("primary", "eu", "eu1", "eu2", "us"));
}

// -- Relays --

class RelayStatusTest : public StatusTest {
  protected:
    RelayStatusTest() {
        Node hub = make_node("hub", "primary", 6432);
        hub.kind = NodeKind::kRelay;
        hub.feeds = {{"orders", "shop", {"orders"}, 1}};
        cascade_.nodes.push_back(hub);
        seen("hub") = standby_at(Lsn{0x0F00}, 6001);
        server("hub").receiver.reset();
        server("hub").relay.emplace();
        server("hub").relay->feeds.push_back({.name = "orders",
                                              .database = "shop",
                                              .slot = "hub_orders",
                                              .received = Lsn{0x0F00},
                                              .durable = Lsn{0x0F00},
                                              .log_bytes = 1,
                                              .problem = {}});
        server("primary").slots.push_back(make_slot("hub_orders"));
        server("primary").downstreams.push_back(fed("hub_orders", Lsn{0x0F00}));
    }
};

TEST_F(RelayStatusTest, RelayReceivesWhatItIsToRelay) {
    const NodeStatus hub = judge("hub");
    EXPECT_EQ(hub.role, "relay");
    EXPECT_EQ(hub.state, "receiving");
    EXPECT_EQ(hub.lsn, Lsn{0x0F00});
    ASSERT_TRUE(hub.lag);
    EXPECT_EQ(hub.lag->bytes, 0x100);
    EXPECT_TRUE(hub.problems.empty());
    // Its own streams are no strangers.
    EXPECT_TRUE(judge("primary").others.empty());
}

TEST_F(RelayStatusTest, FeedThatIsNotReceivedIsTold) {
    server("hub").relay->feeds[0].problem = "no route to host";
    EXPECT_EQ(judge("hub").state, "not receiving");
    ASSERT_EQ(judge("hub").problems.size(), 1U);
    EXPECT_EQ(judge("hub").problems[0].what, "feed orders is not received: no route to host");
    server("hub").relay->feeds[0].problem = "";
    server("primary").slots.pop_back();
    EXPECT_EQ(judge("hub").state, "not receiving");
}

TEST_F(RelayStatusTest, SubscribersHangBelowARelay) {
    Downstream subscriber = fed("sub", Lsn{0x0E00});
    subscriber.sent.reset();
    subscriber.lag_bytes = 0x42;
    server("hub").downstreams.push_back(subscriber);
    const NodeStatus hub = judge("hub");
    ASSERT_EQ(hub.others.size(), 1U);
    EXPECT_EQ(lag_of(*hub.seen->server, *hub.others[0]).bytes, 0x42);
}

TEST_F(RelayStatusTest, RelayThatDoesNotAnswerIsStillARelay) {
    seen("hub").server.reset();
    seen("hub").host.is_this_machine = true;
    seen("hub").host.directory.state = postgres::DataDirectory::State::kCluster;
    EXPECT_EQ(judge("hub").role, "relay");
    EXPECT_EQ(judge("hub").state, "stopped");
}

}  // namespace pgcascade::tree
