#include "relay/slot_file.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <pgcascade/error.hpp>

#include "base/clock.hpp"
#include "base/crc32c.hpp"

namespace pgcascade::relay {

namespace {

using testing::HasSubstr;
using testing::StartsWith;

Slots some_slots() {
    Slots slots;
    Slot& orders = slots["orders"];
    orders.name = "orders";
    orders.kind = Slot::Kind::kLogical;
    orders.database = "my shop-1";
    orders.feed = "shop";
    orders.owner = "-";
    orders.position = Lsn{0x1A016B3788};
    orders.left_at = Lsn{0x1A016B3780};
    orders.lost = Lsn{0x1A016B37C0};
    orders.two_phase = true;
    orders.created = from_postgres_time(757382400000001);
    Slot& standby = slots["standby"];
    standby.name = "standby";
    standby.failover = true;
    standby.created = from_postgres_time(-1);
    standby.invalidation_reason = "wal_removed";
    standby.horizon = {4294968029, 12};
    Slot& unread = slots["unread"];
    unread.name = "unread";
    unread.kind = Slot::Kind::kLogical;
    unread.database = "m\xC3\xBCller";
    unread.owner = "alice";
    unread.created = from_postgres_time(0);
    Slot& temporary = slots["temporary"];
    temporary.name = "temporary";
    temporary.temporary = true;
    return slots;
}

std::string with_crc(const std::string& body) {
    return body + fmt::format("crc32c {:08X}\n", crc32c(body));
}

void expect_corrupt(const std::string& text, const std::string& what) {
    try {
        parse_slots(text, "/relay/slots");
        FAIL() << "was accepted:\n" << text;
    } catch (const LogCorrupt& problem) {
        EXPECT_THAT(problem.what(), StartsWith("/relay/slots: "));
        EXPECT_THAT(problem.what(), HasSubstr(what));
        EXPECT_THAT(problem.hint(), HasSubstr("remove it"));
    }
}

}  // namespace

TEST(SlotFile, LooksAsItsHeaderSays) {
    EXPECT_EQ(
        to_text(some_slots()),
        with_crc("pgcascade slots 4\n"
                 "orders logical my%20shop%2D1 shop %2D 1A/16B3788 yes no 757382400000001 - 0 0 1A/16B3780 "
                 "1A/16B37C0\n"
                 "standby physical - - - 0/0 no yes -1 wal_removed 4294968029 12 0/0 0/0\n"
                 "unread logical m%C3%BCller - alice 0/0 no no 0 - 0 0 0/0 0/0\n"));
    EXPECT_EQ(to_text({}), with_crc("pgcascade slots 4\n"));
}

TEST(SlotFile, SlotsComeBack) {
    const Slots slots = parse_slots(to_text(some_slots()), "slots");
    ASSERT_EQ(slots.size(), 3U);
    const Slot& orders = slots.at("orders");
    EXPECT_EQ(orders.name, "orders");
    EXPECT_TRUE(orders.is_logical());
    EXPECT_EQ(orders.database, "my shop-1");
    EXPECT_EQ(orders.feed, "shop");
    EXPECT_EQ(orders.owner, "-");
    EXPECT_EQ(slots.at("unread").database, "m\xC3\xBCller");
    EXPECT_EQ(slots.at("unread").feed, "");
    EXPECT_EQ(orders.position, Lsn{0x1A016B3788});
    EXPECT_EQ(orders.persisted, orders.position);
    EXPECT_TRUE(orders.two_phase);
    EXPECT_FALSE(orders.failover);
    EXPECT_EQ(orders.created, from_postgres_time(757382400000001));
    EXPECT_FALSE(orders.is_invalidated());
    EXPECT_EQ(orders.left_at, Lsn{0x1A016B3780});
    EXPECT_EQ(orders.lost, Lsn{0x1A016B37C0});
    const Slot& standby = slots.at("standby");
    EXPECT_FALSE(standby.is_logical());
    EXPECT_TRUE(standby.failover);
    EXPECT_EQ(standby.invalidation_reason, "wal_removed");
    EXPECT_EQ(standby.horizon, (StandbyHorizon{4294968029, 12}));
    EXPECT_EQ(standby.persisted_horizon, standby.horizon);
    EXPECT_TRUE(parse_slots(to_text({}), "slots").empty());
}

TEST(SlotFile, AnyDamagedByteIsFound) {
    const std::string text = to_text(some_slots());
    for (std::size_t at = 0; at < text.size(); ++at)
        for (unsigned bit = 0; bit < 8; ++bit) {
            std::string damaged = text;
            damaged[at] = static_cast<char>(damaged[at] ^ (1U << bit));
            EXPECT_THROW(parse_slots(damaged, "slots"), LogCorrupt) << at;
        }
}

TEST(SlotFile, FileThatIsCutOrHasGrownIsDamaged) {
    const std::string text = to_text(some_slots());
    for (std::size_t size = 0; size < text.size(); ++size)
        EXPECT_THROW(parse_slots(text.substr(0, size), "slots"), LogCorrupt) << size;
    EXPECT_THROW(parse_slots(text + "\n", "slots"), LogCorrupt);
    EXPECT_THROW(parse_slots(text + text, "slots"), LogCorrupt);
    EXPECT_THROW(parse_slots(std::string(text.size(), '\0'), "slots"), LogCorrupt);
}

TEST(SlotFile, DamageIsNamedWithWhatToDo) {
    expect_corrupt("", "it is cut short");
    expect_corrupt(to_text(some_slots()).replace(20, 1, "X"), "its checksum is wrong");
    expect_corrupt(with_crc("pgcascade slots 2\n"), "another version");
    const std::string line = "orders logical db shop me 1A/16B3788 yes no 757382400000001 - 0 0 0/0 0/0\n";
    expect_corrupt(with_crc("pgcascade slots 4\n" + line + line), "line 3 is no slot");
}

TEST(SlotFile, LineThatIsNoSlotIsNamed) {
    for (const char* line : {"",
                             "orders",
                             "orders logical db shop me 0/1 yes no 1 0 0 0/0 0/0",
                             "orders logical db shop me 0/1 yes no 1 - 0 0 0/0 0/0 -",
                             "Orders logical db shop me 0/1 yes no 1 - 0 0 0/0 0/0",
                             "orders virtual db shop me 0/1 yes no 1 - 0 0 0/0 0/0",
                             "orders logical - shop me 0/1 yes no 1 - 0 0 0/0 0/0",
                             "orders logical d-b shop me 0/1 yes no 1 - 0 0 0/0 0/0",
                             "orders logical d%4 shop me 0/1 yes no 1 - 0 0 0/0 0/0",
                             "orders logical d%4g shop me 0/1 yes no 1 - 0 0 0/0 0/0",
                             "orders logical db Shop me 0/1 yes no 1 - 0 0 0/0 0/0",
                             "orders logical db shop m% 0/1 yes no 1 - 0 0 0/0 0/0",
                             "orders physical db - me 0/1 yes no 1 - 0 0 0/0 0/0",
                             "orders physical - shop me 0/1 yes no 1 - 0 0 0/0 0/0",
                             "orders logical db shop me 1 yes no 1 - 0 0 0/0 0/0",
                             "orders logical db shop me 0/1 maybe no 1 - 0 0 0/0 0/0",
                             "orders logical db shop me 0/1 yes  1 - 0 0 0/0 0/0",
                             "orders logical db shop me 0/1 yes no now - 0 0 0/0 0/0",
                             "orders logical db shop me 0/1 yes no 1 - x 0 0/0 0/0",
                             "orders logical db shop me 0/1 yes no 1 - 0 -1 0/0 0/0",
                             "orders logical db shop me 0/1 yes no 1 - 0 0 0/0",
                             "orders logical db shop me 0/1 yes no 1 - 0 0 0/0 1",
                             "orders logical db shop me 0/1 yes no 1 - 0 0 - 0/0"})
        expect_corrupt(with_crc("pgcascade slots 4\n" + std::string{line} + "\n"), "line 2 is no slot");
}

}  // namespace pgcascade::relay
