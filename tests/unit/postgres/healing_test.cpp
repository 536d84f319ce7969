#include "postgres/healing.hpp"

#include <gtest/gtest.h>

namespace pgcascade::postgres {
namespace {

Healing of_sqlstate(const char* sqlstate) {
    return healing_of(ServerError("it failed", sqlstate));
}

TEST(Healing, ALostConnectionHeals) {
    EXPECT_EQ(healing_of(ConnectionError("gone")), Healing::kSomeday);
}

TEST(Healing, ARestartingServerHeals) {
    for (const char* sqlstate : {"57P01", "57P02", "57P03", "53300", "53100", "08006", "40001"})
        EXPECT_EQ(of_sqlstate(sqlstate), Healing::kSomeday) << sqlstate;
}

TEST(Healing, ABusySlotHealsSoonOrNever) {
    EXPECT_EQ(of_sqlstate("55006"), Healing::kSoon);
}

TEST(Healing, WhatAPersonHasToMendDoesNot) {
    for (const char* sqlstate : {"42704", "55000", "42501", "0A000", "58P01", "57P04", "XX000", ""})
        EXPECT_EQ(of_sqlstate(sqlstate), Healing::kNever) << sqlstate;
    EXPECT_EQ(healing_of(LoginError("password authentication failed", "28P01")), Healing::kNever);
    EXPECT_EQ(healing_of(ProtocolError("garbage")), Healing::kNever);
    EXPECT_EQ(healing_of(Error("another cluster")), Healing::kNever);
}

TEST(Healing, ALoginRefusedForWantOfConnectionsHeals) {
    EXPECT_EQ(healing_of(LoginError("too many", "53300")), Healing::kSomeday);
}

}  // namespace
}  // namespace pgcascade::postgres
