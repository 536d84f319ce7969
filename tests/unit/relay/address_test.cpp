#include "relay/address.hpp"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <pgcascade/error.hpp>

namespace pgcascade::relay {

namespace {

bool is_in(const std::string& address, const std::string& range) {
    return AddressRange::parse(range).value().contains(address == "local" ? Address::local()
                                                                          : Address::parse(address).value());
}

}  // namespace

TEST(Address, RangeHoldsItsFirstAndItsLastAddress) {
    EXPECT_TRUE(is_in("10.0.0.0", "10.0.0.0/8"));
    EXPECT_TRUE(is_in("10.255.255.255", "10.0.0.0/8"));
    EXPECT_FALSE(is_in("9.255.255.255", "10.0.0.0/8"));
    EXPECT_FALSE(is_in("11.0.0.0", "10.0.0.0/8"));
    EXPECT_TRUE(is_in("192.168.5.63", "192.168.5.32/27"));
    EXPECT_FALSE(is_in("192.168.5.31", "192.168.5.32/27"));
    EXPECT_FALSE(is_in("192.168.5.64", "192.168.5.32/27"));
    EXPECT_TRUE(is_in("2001:db8:7fff::1", "2001:db8::/33"));
    EXPECT_FALSE(is_in("2001:db8:8000::1", "2001:db8::/33"));
    EXPECT_TRUE(is_in("255.255.255.255", "0.0.0.0/0"));
}

TEST(Address, AddressAloneIsARangeOfOne) {
    EXPECT_TRUE(is_in("10.0.0.1", "10.0.0.1"));
    EXPECT_FALSE(is_in("10.0.0.2", "10.0.0.1"));
    EXPECT_TRUE(is_in("::1", "::1"));
    EXPECT_FALSE(is_in("::2", "::1/128"));
}

TEST(Address, Ipv4InIpv6IsIpv4) {
    EXPECT_EQ(Address::parse("::ffff:10.0.0.1"), Address::parse("10.0.0.1"));
    EXPECT_EQ(AddressRange::parse("::ffff:10.0.0.0/104"), AddressRange::parse("10.0.0.0/8"));
    EXPECT_EQ(AddressRange::parse("::ffff:0.0.0.0/96"), AddressRange::parse("0.0.0.0/0"));
    EXPECT_FALSE(AddressRange::parse("::ffff:10.0.0.0/8"));
    EXPECT_FALSE(is_in("10.0.0.1", "::/0"));
    EXPECT_FALSE(is_in("::a00:1", "0.0.0.0/0"));
}

TEST(Address, UnixSocketIsInNoNetwork) {
    EXPECT_TRUE(is_in("local", "local"));
    EXPECT_FALSE(is_in("local", "0.0.0.0/0"));
    EXPECT_FALSE(is_in("local", "::/0"));
    EXPECT_FALSE(is_in("127.0.0.1", "local"));
    EXPECT_FALSE(is_in("0.0.0.0", "local"));
}

TEST(Address, OnlyLoopbackIsThisMachine) {
    for (const char* range : {"local", "127.0.0.1", "127.0.0.0/8", "127.3.0.0/16", "::1", "::ffff:127.0.0.1"})
        EXPECT_TRUE(AddressRange::parse(range).value().is_this_machine()) << range;
    for (const char* range : {"0.0.0.0/0", "126.0.0.0/7", "127.0.0.0/7", "10.0.0.1", "128.0.0.1", "::/0",
                              "::2", "::/127", "fe80::1"}) {
        const auto parsed = AddressRange::parse(range);
        EXPECT_FALSE(parsed && parsed->is_this_machine()) << range;
    }
}

TEST(Address, WhatIsNoRangeIsNone) {
    for (const char* text : {"",
                             "/",
                             "/8",
                             "10.0.0.0/",
                             "10.0.0.0/33",
                             "10.0.0.0/-1",
                             "10.0.0.0/+8",
                             "10.0.0.0/8 ",
                             " 10.0.0.1",
                             "10.0.0.0/8/8",
                             "10.0.0",
                             "10.0.0.256",
                             "010.0.0.1",
                             "10.0.0.0/0x8",
                             "::1/129",
                             "::1%lo",
                             "localhost",
                             "local/0",
                             "LOCAL",
                             "[::1]",
                             "fe80::/10000000000",
                             "::ffff:10.0.0.1/129"})
        EXPECT_FALSE(AddressRange::parse(text)) << text;
    EXPECT_FALSE(Address::parse("local"));
    EXPECT_FALSE(Address::parse(std::string_view{"10.0.0.1\0", 9}));
}

TEST(Address, BitsBeyondTheNetworkAreRefused) {
    EXPECT_FALSE(AddressRange::parse("10.0.0.1/8"));
    EXPECT_FALSE(AddressRange::parse("192.168.5.33/27"));
    EXPECT_FALSE(AddressRange::parse("2001:db8::1/32"));
    EXPECT_FALSE(AddressRange::parse("127.0.0.0/7"));
}

TEST(Address, IsReadFromASocketAddress) {
    sockaddr_in ipv4{};
    ipv4.sin_family = AF_INET;
    ::inet_pton(AF_INET, "10.1.2.3", &ipv4.sin_addr);
    EXPECT_EQ(Address::of(reinterpret_cast<const sockaddr&>(ipv4)).to_string(), "10.1.2.3");

    sockaddr_in6 ipv6{};
    ipv6.sin6_family = AF_INET6;
    ::inet_pton(AF_INET6, "2001:db8::7", &ipv6.sin6_addr);
    EXPECT_EQ(Address::of(reinterpret_cast<const sockaddr&>(ipv6)).to_string(), "2001:db8::7");
    ::inet_pton(AF_INET6, "::ffff:10.1.2.3", &ipv6.sin6_addr);
    EXPECT_EQ(Address::of(reinterpret_cast<const sockaddr&>(ipv6)).to_string(), "10.1.2.3");

    sockaddr_un local{};
    local.sun_family = AF_UNIX;
    EXPECT_EQ(Address::of(reinterpret_cast<const sockaddr&>(local)), Address::local());

    sockaddr other{};
    other.sa_family = AF_PACKET;
    EXPECT_THROW(Address::of(other), Error);
}

TEST(Address, RangeIsPrintedAsItIsWritten) {
    for (const char* text : {"local", "10.0.0.0/8", "::1/128", "2001:db8::/33"})
        EXPECT_EQ(AddressRange::parse(text).value().to_string(), text);
}

}  // namespace pgcascade::relay
