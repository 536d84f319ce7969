#include "relay/relay_status.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace pgcascade::relay {

namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

RelayConfig listening(std::vector<ListenAddress> addresses, const std::vector<std::string>& trusted = {}) {
    RelayConfig config;
    config.listen = std::move(addresses);
    for (const std::string& text : trusted) config.trust.push_back(AddressRange::parse(text).value());
    return config;
}

std::string way_to(const RelayConfig& config) {
    return conninfo_of(config).to_string();
}

const ListenAddress kLocal{.port = 6434, .directory = "/run/relay"};
const ListenAddress kLoopback{.host = "127.0.0.1", .port = 6432};
const ListenAddress kNetwork{.host = "10.0.0.5", .port = 6433};

RelayStatus healthy() {
    RelayStatus status;
    status.relay = "relay:6432";
    status.feeds.push_back({.name = "shop",
                            .database = "db",
                            .publications = "pub",
                            .upstream = "host=a",
                            .slot = "relay_shop",
                            .state = "receiving",
                            .received = Lsn{0x20},
                            .durable = Lsn{0x10},
                            .log_bytes = 7,
                            .begin = Lsn{0x8},
                            .end = Lsn{0x18},
                            .problem = ""});
    status.slots.push_back(
        {.name = "s", .database = "db", .active = true, .position = Lsn{0x10}, .lag_bytes = 16});
    return status;
}

}  // namespace

TEST(RelayStatus, NearestAddressIsTaken) {
    EXPECT_EQ(way_to(listening({kNetwork, kLoopback, kLocal})), "host=/run/relay port=6434");
    EXPECT_EQ(way_to(listening({kNetwork, kLoopback})), "host=127.0.0.1 port=6432");
    EXPECT_EQ(way_to(listening({kNetwork})), "host=10.0.0.5 port=6433");
    EXPECT_EQ(way_to(listening({kNetwork, {.host = "localhost", .port = 1}})), "host=localhost port=1");
}

TEST(RelayStatus, AddressThatIsTrustedGoesFirst) {
    EXPECT_EQ(way_to(listening({kLocal, kLoopback}, {"127.0.0.1"})), "host=127.0.0.1 port=6432");
    EXPECT_EQ(way_to(listening({kLoopback, kLocal}, {"127.0.0.1", "local"})), "host=/run/relay port=6434");
}

TEST(RelayStatus, WhatListensEverywhereIsReachedAtLoopback) {
    EXPECT_EQ(way_to(listening({{.host = "0.0.0.0", .port = 1}})), "host=127.0.0.1 port=1");
    EXPECT_EQ(way_to(listening({{.host = "::", .port = 1}})), "host=::1 port=1");
}

TEST(RelayStatus, DatabaseIsThatOfTheFirstFeed) {
    RelayConfig config = listening({kLoopback});
    config.feeds.resize(2);
    config.feeds[0].database = "shop";
    config.feeds[1].database = "stock";
    EXPECT_EQ(conninfo_of(config).get("dbname"), "shop");
}

TEST(RelayStatus, FeedThatDoesNotReceiveIsAProblem) {
    RelayStatus status = healthy();
    EXPECT_THAT(problems_of(status), IsEmpty());
    status.feeds[0].state = "connecting";
    ASSERT_THAT(problems_of(status), SizeIs(1));
    EXPECT_EQ(problems_of(status)[0].what, "feed shop: its upstream is not connected yet");
    status.feeds[0].problem = "refused";
    EXPECT_EQ(problems_of(status)[0].what, "feed shop: refused");
    status.feeds[0].state = "receiving";  // the disk is full
    EXPECT_EQ(problems_of(status)[0].what, "feed shop: refused");
    status.feeds[0] = {.name = "shop", .state = "paused"};
    EXPECT_THAT(problems_of(status)[0].what, HasSubstr("max_bytes"));
}

TEST(RelayStatus, SlotThatWasInvalidatedIsAProblem) {
    RelayStatus status = healthy();
    status.slots[0].invalidation_reason = "wal_removed";
    ASSERT_THAT(problems_of(status), SizeIs(1));
    EXPECT_EQ(problems_of(status)[0].what, "slot s: it was invalidated: wal_removed");
    EXPECT_THAT(problems_of(status)[0].hint, HasSubstr("drop the slot"));
}

TEST(RelayStatus, JsonHasEveryKeyAndNullForWhatIsNotKnown) {
    RelayStatus status = healthy();
    status.sessions.push_back({.pid = 3,
                               .client = "local",
                               .user = "alice",
                               .database = "db",
                               .application_name = "\"x\"",
                               .state = "streaming",
                               .sent = {Lsn{0x20}, 0}});
    status.feeds[0].problem = "refused";
    EXPECT_EQ(
        to_json(status),
        R"({"relay":"relay:6432","healthy":false,"wal":null,"feeds":[{"feed":"shop","database":"db","publications":"pub",)"
        R"("upstream":"host=a","slot":"relay_shop","state":"receiving","received_lsn":"0/20",)"
        R"("durable_lsn":"0/10","log_bytes":7,"begin_lsn":"0/8","end_lsn":"0/18","problem":"refused"}],)"
        R"("slots":[{"slot_name":"s","database":"db","temporary":false,"active":true,"position":"0/10",)"
        R"("lag_bytes":16,"retained_log_bytes":0,"invalidation_reason":null}],"sessions":[{"pid":3,)"
        R"("client":"local","user":"alice","database":"db","application_name":"\"x\"","slot":null,"feed":null,)"
        R"("state":"streaming","sent_lsn":"0/20","write_lsn":null,"flush_lsn":null,"apply_lsn":null,)"
        R"("sent_lag_bytes":0,"write_lag_bytes":null,"flush_lag_bytes":null,"apply_lag_bytes":null}],)"
        R"("problems":[{"what":"feed shop: refused","hint":null}]})");
}

}  // namespace pgcascade::relay
