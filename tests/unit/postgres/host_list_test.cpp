#include "postgres/host_list.hpp"

#include <gtest/gtest.h>

namespace pgcascade::postgres {

namespace {

std::string rest(const char* conninfo, std::string_view host, std::string_view port) {
    const auto shorter = without_host(Conninfo::parse(conninfo), host, port);
    return shorter ? shorter->to_string() : "none";
}

}  // namespace

TEST(HostList, AllListsLoseTheSameHost) {
    EXPECT_EQ(rest("host=a,b,c port=1,2,3", "b", "2"), "host=a,c port=1,3");
    EXPECT_EQ(rest("host=a,b hostaddr=10.0.0.1,10.0.0.2 port=1,2", "a", "1"),
              "host=b hostaddr=10.0.0.2 port=2");
    EXPECT_EQ(rest("hostaddr=10.0.0.1,10.0.0.2", "10.0.0.2", "5432"), "hostaddr=10.0.0.1");
}

TEST(HostList, SinglePortStaysForAll) {
    EXPECT_EQ(rest("host=a,b port=7", "a", "7"), "port=7 host=b");
}

TEST(HostList, SameHostOnTwoPortsIsTwo) {
    EXPECT_EQ(rest("host=a,a port=1,2", "a", "2"), "host=a port=1");
}

TEST(HostList, HostLeftEmptyIsTheDefault) {
    EXPECT_EQ(rest("host=,b", "/var/run/postgresql", "5432"), "host=b");
    EXPECT_EQ(rest("host=a, port=1,2", "a", "1"), "none");  // libpq has no way to name it alone
}

TEST(HostList, LastOneHasNoOther) {
    EXPECT_EQ(rest("host=a", "a", "5432"), "none");
    EXPECT_EQ(rest("dbname=d", "/var/run/postgresql", "5432"), "none");
    EXPECT_EQ(rest("host=a,b", "c", "5432"), "none");
}

}  // namespace pgcascade::postgres
