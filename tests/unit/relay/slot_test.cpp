#include "relay/slot.hpp"

#include <gtest/gtest.h>

#include <pgcascade/error.hpp>

namespace pgcascade::relay {

namespace {

void expect_refused(const std::string& name, const std::string& what, const std::string& sqlstate,
                    const std::string& hint = "") {
    EXPECT_FALSE(is_slot_name(name));
    try {
        check_slot_name(name);
        FAIL() << name << " was accepted";
    } catch (const ServerError& problem) {
        EXPECT_EQ(problem.what(), what);
        EXPECT_EQ(problem.sqlstate(), sqlstate);
        EXPECT_EQ(problem.hint(), hint);
    }
}

}  // namespace

// The words are those of 15 to 18: slot.c, ReplicationSlotValidateName.
TEST(Slot, BadNameIsRefusedInPostgresqlsWords) {
    expect_refused("", "replication slot name \"\" is too short", "42602");
    const std::string long_name(64, 'a');
    expect_refused(long_name, "replication slot name \"" + long_name + "\" is too long", "42622");
    for (const std::string name : {"Orders", "or-ders", "or ders", "örders", "orders\n", "a.b"})
        expect_refused(name, "replication slot name \"" + name + "\" contains invalid character", "42602",
                       "Replication slot names may only contain lower case letters, numbers, and the "
                       "underscore character.");
}

TEST(Slot, GoodNameIsAccepted) {
    for (const std::string& name : {std::string{"a"}, std::string{"_orders_1"}, std::string(63, '9')}) {
        EXPECT_TRUE(is_slot_name(name));
        EXPECT_NO_THROW(check_slot_name(name));
    }
}

}  // namespace pgcascade::relay
