#include "postgres/slots.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace pgcascade::postgres {

using testing::HasSubstr;

static Slot good_slot() {
    Slot slot;
    slot.name = "orders";
    slot.type = Slot::Type::kLogical;
    slot.plugin = "pgoutput";
    slot.database = "shop";
    slot.wal_status = "reserved";
    return slot;
}

static ServerError refusal_of(const Slot& slot, bool on_standby = false) {
    try {
        check_slot_usable_for_pgoutput(slot,
                                       {.server = "eu-1", .database = "shop", .on_standby = on_standby});
    } catch (const ServerError& problem) {
        return problem;
    }
    ADD_FAILURE() << "the slot was accepted";
    return {"", ""};
}

static void expect_refusal(const ServerError& problem, const char* sqlstate, const char* what,
                           const char* hint) {
    EXPECT_EQ(problem.sqlstate(), sqlstate);
    EXPECT_THAT(problem.what(), HasSubstr(std::string{"eu-1: slot \"orders\" "} + what));
    EXPECT_THAT(problem.hint(), HasSubstr(hint));
}

TEST(SlotForPgoutput, AcceptsASlotThatIsFree) {
    EXPECT_NO_THROW(check_slot_usable_for_pgoutput(good_slot(), {.server = "eu-1", .database = "shop"}));
}

TEST(SlotForPgoutput, RefusesAPhysicalSlot) {
    Slot slot = good_slot();
    slot.type = Slot::Type::kPhysical;
    expect_refusal(refusal_of(slot), "55000", "is physical", "use a logical slot");
}

TEST(SlotForPgoutput, RefusesAnotherPlugin) {
    Slot slot = good_slot();
    slot.plugin = "test_decoding";
    expect_refusal(refusal_of(slot), "55000", "uses the output plugin test_decoding, not pgoutput",
                   "SELECT pg_drop_replication_slot('orders')");
}

TEST(SlotForPgoutput, RefusesAnotherDatabase) {
    Slot slot = good_slot();
    slot.database = "bank";
    expect_refusal(refusal_of(slot), "55000", "belongs to database \"bank\"", "connect with dbname=bank");
}

TEST(SlotForPgoutput, TellsWhyASlotIsInvalidated) {
    const std::pair<const char*, const char*> reasons[] = {
        {"wal_removed", "WAL that it needs was removed"},
        {"rows_removed", "removed catalog rows"},
        {"wal_level_insufficient", "wal_level on the primary fell below logical"},
        {"idle_timeout", "idle_replication_slot_timeout"},
        {"conflicting", "conflicted with recovery"},
    };
    for (const auto& [reason, cause] : reasons) {
        Slot slot = good_slot();
        slot.invalidation_reason = reason;
        const ServerError problem = refusal_of(slot);
        expect_refusal(problem, "55000", "is invalidated for good", "SELECT pg_drop_replication_slot");
        EXPECT_THAT(problem.what(), HasSubstr(reason));
        EXPECT_THAT(problem.what(), HasSubstr(cause));
    }
}

TEST(SlotForPgoutput, RefusesASyncedSlotOnAStandbyOnly) {
    Slot slot = good_slot();
    slot.synced = true;
    expect_refusal(refusal_of(slot, true), "55000", "is a synchronized copy", "on the primary");
    EXPECT_NO_THROW(check_slot_usable_for_pgoutput(slot, {.server = "eu-1", .database = "shop"}));
}

TEST(SlotForPgoutput, NamesWhoUsesASlotSoThatACallerMayWait) {
    Slot slot = good_slot();
    slot.active = true;
    slot.active_pid = 4711;
    expect_refusal(refusal_of(slot), "55006", "is in use by pid 4711", "SELECT pg_terminate_backend(4711)");
}

}  // namespace pgcascade::postgres
