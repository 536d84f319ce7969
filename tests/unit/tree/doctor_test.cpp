#include "tree/doctor.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace pgcascade::tree {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using Severity = Finding::Severity;

// A primary where all is well.
Patient healthy(const std::string& name, int version = 180006) {
    Patient server;
    server.name = name;
    server.role = server.replication_role = "postgres";
    server.may_log_snapshots = true;
    server.state.emplace();
    server.state->version = version;
    server.state->version_name = "some version";
    server.state->replication_role = Role{true, true};
    server.state->settings["wal_level"].value = "logical";
    server.state->settings["max_replication_slots"].value = "10";
    server.state->settings["max_wal_senders"].value = "10";
    return server;
}

Patient healthy_standby(const std::string& name, std::size_t upstream, int version = 180006) {
    Patient server = healthy(name, version);
    server.upstream = upstream;
    server.state->in_recovery = true;
    server.state->receiver.emplace();
    server.state->receiver->status = "streaming";
    server.state->settings["primary_slot_name"].value = "a_slot";
    server.state->settings["hot_standby_feedback"].value = "on";
    return server;
}

std::vector<std::string> checks_of(const std::vector<Finding>& findings) {
    std::vector<std::string> checks;
    for (const Finding& finding : findings) checks.push_back(finding.server + " " + finding.check);
    return checks;
}

TEST(Doctor, FindsNothingWhereAllIsWell) {
    EXPECT_THAT(diagnose({{healthy("primary"), healthy_standby("eu", 0), healthy_standby("eu-1", 1)}}),
                IsEmpty());
}

TEST(Doctor, FlagsEveryMinorVersionBeforeTheFix) {
    for (const int fixed : {150019, 160015, 170011, 180006}) {
        EXPECT_THAT(diagnose({{healthy("primary", fixed)}}), IsEmpty()) << fixed;
        const auto findings = diagnose({{healthy("primary", fixed - 1)}});
        ASSERT_THAT(checks_of(findings), ElementsAre("primary minor_version")) << fixed;
        EXPECT_EQ(findings[0].severity, Severity::kAdvice);
    }
    EXPECT_THAT(diagnose({{healthy("primary", 190000)}}), IsEmpty());
}

TEST(Doctor, AnOldMinorVersionIsAProblemOnlyBelowAStandbyWithAnArchive) {
    Survey survey{
        {healthy("primary", 180004), healthy_standby("eu", 0, 180004), healthy_standby("eu-1", 1, 180004)}};
    for (Patient& server : survey.servers) server.state->settings["restore_command"].value = "cp …";
    const auto findings = diagnose(survey);
    ASSERT_THAT(findings, SizeIs(3));
    EXPECT_EQ(findings[0].severity, Severity::kAdvice);
    EXPECT_EQ(findings[1].severity, Severity::kAdvice);
    EXPECT_EQ(findings[2].severity, Severity::kProblem);
}

TEST(Doctor, KnowsNoServerOlderThan15) {
    const auto findings = diagnose({{healthy("primary", 140012)}});
    ASSERT_THAT(checks_of(findings), ElementsAre("primary version"));
    EXPECT_THAT(findings[0].what, HasSubstr("older than 15"));
}

TEST(Doctor, LooksNoFurtherAtAServerThatDidNotAnswer) {
    Patient silent;
    silent.name = "eu";
    silent.upstream = 0;
    silent.unreachable = {"no answer within 5000 ms", ""};
    const auto findings = diagnose({{healthy("primary"), silent, healthy_standby("eu-1", 1)}});
    ASSERT_THAT(checks_of(findings), ElementsAre("eu unreachable"));
    EXPECT_FALSE(findings[0].mend.empty());
}

TEST(Doctor, ASettingThatWaitsForARestartIsNotSetAgain) {
    Patient primary = healthy("primary");
    primary.state->settings["wal_level"].value = "replica";
    primary.state->settings["wal_level"].pending_restart = true;
    primary.state->data_directory = "/data";
    const auto findings = diagnose({{primary}});
    ASSERT_THAT(checks_of(findings), ElementsAre("primary wal_level"));
    EXPECT_THAT(findings[0].mend, HasSubstr("pg_ctl restart -D '/data'"));
    EXPECT_EQ(findings[0].mend.find("ALTER SYSTEM"), std::string::npos);
}

TEST(Doctor, ReadsTheNamesOfSynchronizedStandbySlotsAsAList) {
    Patient primary = healthy("primary");
    primary.state->settings["synchronized_standby_slots"].value = "eu, \"us\",  orders";
    postgres::Slot eu;
    eu.name = "eu";
    eu.active = true;
    postgres::Slot orders = eu;
    orders.name = "orders";
    orders.type = postgres::Slot::Type::kLogical;
    primary.state->slots = {eu, orders};
    const auto findings = diagnose({{primary}});
    ASSERT_THAT(findings, SizeIs(2));
    EXPECT_THAT(findings[0].what, HasSubstr("\"us\", which does not exist"));
    EXPECT_THAT(findings[1].what, HasSubstr("\"orders\", which is logical"));
}

TEST(Doctor, ASlotWithoutALimitIsNeverNearIt) {
    Patient primary = healthy("primary");
    primary.state->settings["max_slot_wal_keep_size"].value = "-1";
    primary.state->settings["max_wal_size"].value = "1024";
    postgres::Slot slot;
    slot.name = "eu";
    slot.wal_status = "extended";
    slot.retained_bytes = 1LL << 40;
    slot.active = true;
    primary.state->slots = {slot};
    EXPECT_THAT(diagnose({{primary}}), IsEmpty()) << "its standby is behind, and comes";
    primary.state->slots[0].active = false;
    EXPECT_THAT(checks_of(diagnose({{primary}})), ElementsAre("primary idle_slot"));
}

TEST(Doctor, ARoleThatSeesNoStatusOfTheWalreceiverIsNotToldThatItStandsStill) {
    Patient standby = healthy_standby("eu", 0);
    standby.state->receiver->status.clear();
    EXPECT_THAT(diagnose({{healthy("primary"), standby}}), IsEmpty());
    standby.state->receiver->status = "waiting";
    EXPECT_THAT(checks_of(diagnose({{healthy("primary"), standby}})), ElementsAre("eu streaming"));
}

// -- Relays --

Patient healthy_relay(const std::string& name, std::size_t upstream) {
    Patient relay;
    relay.name = name;
    relay.upstream = upstream;
    relay.max_log_bytes = 1000;
    relay.state.emplace();
    relay.state->in_recovery = true;
    relay.state->relay.emplace();
    relay.state->relay->feeds.push_back({.name = "orders",
                                         .database = "shop",
                                         .slot = "hub_orders",
                                         .received = Lsn{1},
                                         .durable = Lsn{1},
                                         .log_bytes = 1000,
                                         .problem = {}});
    return relay;
}

std::vector<std::string> checks_of(const Survey& survey) {
    std::vector<std::string> checks;
    for (const Finding& finding : diagnose(survey))
        if (finding.server == "hub") checks.push_back(finding.check + ": " + finding.what);
    return checks;
}

TEST(Doctor, RelayIsExaminedAsARelay) {
    Survey survey{{healthy("primary"), healthy_relay("hub", 0)}};
    postgres::Slot slot;
    slot.name = "hub_orders";
    slot.active = true;
    survey.servers[0].state->slots.push_back(slot);
    EXPECT_THAT(checks_of(survey), IsEmpty());

    survey.servers[0].state->slots[0].active = false;
    EXPECT_THAT(checks_of(survey),
                ElementsAre("relay_receives: feed orders is not received: it does not use its "
                            "slot hub_orders on primary"));
    survey.servers[0].state->slots.clear();
    EXPECT_THAT(checks_of(survey), ElementsAre(HasSubstr("primary has no slot hub_orders")));
    survey.servers[1].state->relay->feeds[0].problem = "no route to host";
    EXPECT_THAT(checks_of(survey), ElementsAre(HasSubstr("feed orders is not received: no route to host")));
}

TEST(Doctor, SlotsAndLogOfARelayAreExamined) {
    Survey survey{{healthy("primary"), healthy_relay("hub", 0)}};
    survey.servers[0].state.reset();  // it says nothing of its slots
    survey.servers[1].state->relay->feeds[0].log_bytes = 1001;
    postgres::Slot slot;
    slot.name = "eu";
    slot.invalidation_reason = "wal_removed";
    survey.servers[1].state->slots.push_back(slot);
    EXPECT_THAT(checks_of(survey),
                ElementsAre("invalidated_slot: slot eu is invalidated: wal_removed",
                            "relay_log: the log of feed orders takes 1001 B, and max_bytes is 1000 B"));
}

TEST(Doctor, FeedOfAnotherServerThanTheRestOfTheRelayHasItsSlotThere) {
    Survey survey{{healthy("primary"), healthy_relay("hub", 0)}};
    RelayState& relay = *survey.servers[1].state->relay;
    relay.wal.emplace();
    relay.wal->slot = "hub";
    relay.wal->sender = {"primary", "5432"};
    relay.feeds[0].sender = {"eu", "5432"};
    postgres::Slot slot;
    slot.name = "hub";
    slot.active = true;
    survey.servers[0].state->slots.push_back(slot);
    EXPECT_THAT(checks_of(survey), IsEmpty());
    relay.feeds[0].sender = relay.wal->sender;
    EXPECT_THAT(checks_of(survey), ElementsAre(HasSubstr("primary has no slot hub_orders")));
}

TEST(Doctor, UpstreamOfARelayThatCanNotBeLookedAtIsAProblem) {
    Survey survey{{healthy_relay("hub", 0)}};
    survey.servers[0].upstream.reset();
    survey.servers[0].unknown_upstream = Problem{"no way in", ""};
    EXPECT_THAT(checks_of(survey), IsEmpty()) << "that it is not connected is another finding";
    survey.servers[0].state->relay->feeds[0].sender = {"primary", "5432"};
    EXPECT_THAT(checks_of(survey),
                ElementsAre("upstream: the server that feeds it can't be looked at: no way in"));
}

}  // namespace
}  // namespace pgcascade::tree
