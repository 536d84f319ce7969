#include "relay/listen_address.hpp"

#include <gtest/gtest.h>

namespace pgcascade::relay {

TEST(ListenAddress, HostAndPortAreTakenApart) {
    EXPECT_EQ(parse_tcp_address("127.0.0.1:6432"), (ListenAddress{.host = "127.0.0.1", .port = 6432}));
    EXPECT_EQ(parse_tcp_address("[::1]:65535"), (ListenAddress{.host = "::1", .port = 65535}));
    EXPECT_EQ(parse_tcp_address("DB-1.example.com:1"),
              (ListenAddress{.host = "db-1.example.com", .port = 1}));
}

TEST(ListenAddress, SameAddressInOtherWordsIsTheSame) {
    EXPECT_EQ(parse_tcp_address("[0:0:0::1]:6432"), parse_tcp_address("[::1]:6432"));
    EXPECT_EQ(parse_tcp_address("[2001:DB8::1]:6432"), parse_tcp_address("[2001:db8::1]:6432"));
    EXPECT_EQ(parse_tcp_address("LocalHost:6432"), parse_tcp_address("localhost:6432"));
}

TEST(ListenAddress, WhatIsNoAddressIsNone) {
    for (const char* text : {"",
                             ":",
                             ":6432",
                             "127.0.0.1",
                             "127.0.0.1:",
                             "127.0.0.1:0",
                             "127.0.0.1:65536",
                             "127.0.0.1:-1",
                             "127.0.0.1: 6432",
                             "127.0.0.1:6432x",
                             "::1:6432",
                             "[::1]",
                             "[]:6432",
                             "[127.0.0.1]:6432",
                             "[localhost]:6432",
                             "[::1:6432",
                             "10.0.0.300:6432",
                             "10.0.0:6432",
                             "a b:6432",
                             "*:6432"})
        EXPECT_FALSE(parse_tcp_address(text)) << text;
}

TEST(ListenAddress, IsPrintedAsPeopleWriteIt) {
    EXPECT_EQ(parse_tcp_address("10.0.0.1:6432").value().to_string(), "10.0.0.1:6432");
    EXPECT_EQ(parse_tcp_address("[::1]:6432").value().to_string(), "[::1]:6432");
    const ListenAddress local{.port = 6432, .directory = "/run/relay"};
    EXPECT_TRUE(local.is_local());
    EXPECT_EQ(local.to_string(), "/run/relay (port 6432)");
    EXPECT_EQ(local.socket(), "/run/relay/.s.PGSQL.6432");
}

}  // namespace pgcascade::relay
