#include "relay/slot_store.hpp"

#include <atomic>
#include <memory>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <pgcascade/error.hpp>

#include "base/clock.hpp"
#include "base/file.hpp"
#include "unit/temporary_directory.hpp"

namespace pgcascade::relay {

namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::Field;
using testing::HasSubstr;

constexpr int kPid = 4711;
constexpr int kOtherPid = 4712;

NewSlot physical(const std::string& name, Lsn position = {}) {
    return {.name = name, .position = position};
}

NewSlot logical(const std::string& name, Lsn position, const std::string& database = "shop") {
    return {.name = name,
            .kind = Slot::Kind::kLogical,
            .database = database,
            .owner = "alice",
            .position = position};
}

template <class Call>
void expect_refused(const Call& call, const std::string& what, const std::string& sqlstate,
                    const std::string& hint = "") {
    try {
        call();
        FAIL() << "no error, but wanted: " << what;
    } catch (const ServerError& problem) {
        EXPECT_EQ(problem.what(), what);
        EXPECT_EQ(problem.sqlstate(), sqlstate);
        EXPECT_EQ(problem.hint(), hint);
    }
}

}  // namespace

class SlotStoreTest : public testing::Test {
  protected:
    // What the log keeper keeps for the slots of a database, or for physical ones ("").
    std::optional<Lsn> oldest(const std::string& database) const {
        std::optional<Lsn> oldest;
        for (const Slot& slot : store_->list())
            if (slot.database == database && slot.needs() && (!oldest || slot.needs() < *oldest))
                oldest = slot.needs();
        return oldest;
    }

    // What a relay finds that starts now, whether or not the one before has ended well.
    Slots after_crash() const {
        Slots slots;
        const SlotStore other{directory_};
        for (const Slot& slot : other.list()) slots.emplace(slot.name, slot);
        return slots;
    }

    Slot slot(const std::string& name) const { return store_->find(name).value(); }

    const TemporaryDirectory temporary_;
    const fs::path directory_ = temporary_.path();
    std::unique_ptr<SlotStore> store_ = std::make_unique<SlotStore>(directory_);
};

// ── creation, change and removal ───────────────────────────────────────────────────────────────────────

TEST_F(SlotStoreTest, CreatedSlotIsDurable) {
    EXPECT_TRUE(store_->list().empty());
    const Timestamp before = now();
    NewSlot orders = logical("orders", Lsn{0x100});
    orders.two_phase = orders.failover = true;
    store_->create(orders);
    store_->create(physical("standby"));

    const Slots slots = after_crash();
    ASSERT_EQ(slots.size(), 2U);
    EXPECT_TRUE(slots.at("orders").is_logical());
    EXPECT_EQ(slots.at("orders").database, "shop");
    EXPECT_EQ(slots.at("orders").owner, "alice");
    EXPECT_EQ(slots.at("orders").position, Lsn{0x100});
    EXPECT_EQ(slots.at("orders").persisted, Lsn{0x100});
    EXPECT_TRUE(slots.at("orders").two_phase);
    EXPECT_TRUE(slots.at("orders").failover);
    EXPECT_GE(slots.at("orders").created, before);
    EXPECT_LE(slots.at("orders").created, now());
    EXPECT_FALSE(slots.at("standby").is_logical());
    EXPECT_THAT(store_->list(), ElementsAre(Field(&Slot::name, "orders"), Field(&Slot::name, "standby")));
}

TEST_F(SlotStoreTest, SecondSlotOfANameIsRefused) {
    store_->create(physical("standby"));
    const std::string what = "replication slot \"standby\" already exists";
    expect_refused([&] { store_->create(logical("standby", Lsn{1})); }, what, "42710");
    expect_refused([&] { (void)store_->create_temporary(physical("standby"), kPid); }, what, "42710");
    EXPECT_FALSE(slot("standby").is_logical());
}

TEST_F(SlotStoreTest, BadNameIsRefused) {
    expect_refused([&] { store_->create(physical("")); }, "replication slot name \"\" is too short", "42602");
    EXPECT_THROW((void)store_->create_temporary(physical("a-b"), kPid), ServerError);
    EXPECT_TRUE(store_->list().empty());
}

// Its line in the file could not be read again.
TEST_F(SlotStoreTest, OnlyALogicalSlotIsOfADatabase) {
    EXPECT_THROW(store_->create({.name = "orders", .kind = Slot::Kind::kLogical}), Error);
    EXPECT_THROW(store_->create({.name = "standby", .database = "shop"}), Error);
    EXPECT_TRUE(store_->list().empty());
}

TEST_F(SlotStoreTest, FeedThatIsReadThroughASlotIsRememberedByIt) {
    store_->create(logical("orders", Lsn{0x100}));
    EXPECT_EQ(slot("orders").feed, "");
    const SlotLease lease = store_->acquire("orders", kPid);
    store_->bind(lease, "sales");
    EXPECT_EQ(slot("orders").feed, "sales");
    EXPECT_EQ(after_crash().at("orders").feed, "sales");
}

TEST_F(SlotStoreTest, ThereAreSoManyAndNoMore) {
    std::vector<SlotLease> leases;
    for (std::size_t i = 0; i < SlotStore::kMostSlots; ++i)
        leases.push_back(store_->create_temporary(physical("t" + std::to_string(i)), kPid));
    expect_refused([&] { store_->create(physical("one_more")); }, "all replication slots are in use", "53400",
                   "Free one; the relay has at most 10000.");
    leases.pop_back();
    EXPECT_NO_THROW(store_->create(physical("one_more")));
}

TEST_F(SlotStoreTest, DroppedSlotIsGoneForGood) {
    store_->create(logical("orders", Lsn{1}));
    store_->create(physical("standby"));
    store_->drop("orders", kPid);
    EXPECT_FALSE(store_->find("orders"));
    EXPECT_EQ(after_crash().size(), 1U);
    expect_refused([&] { store_->drop("orders", kPid); }, "replication slot \"orders\" does not exist",
                   "42704");
}

TEST_F(SlotStoreTest, AlteredSlotIsDurable) {
    store_->create(logical("orders", Lsn{1}));
    store_->alter("orders", kPid, {.failover = true});
    EXPECT_TRUE(after_crash().at("orders").failover);
    EXPECT_FALSE(after_crash().at("orders").two_phase);
    store_->alter("orders", kPid, {.two_phase = true, .failover = false});
    EXPECT_FALSE(after_crash().at("orders").failover);
    EXPECT_TRUE(after_crash().at("orders").two_phase);
    EXPECT_EQ(slot("orders").active_pid, 0);
}

TEST_F(SlotStoreTest, WhatCannotBeAlteredIsRefused) {
    store_->create(physical("standby"));
    expect_refused([&] { store_->alter("standby", kPid, {.failover = true}); },
                   "cannot use ALTER_REPLICATION_SLOT with a physical replication slot", "0A000");
    expect_refused([&] { store_->alter("orders", kPid, {}); }, "replication slot \"orders\" does not exist",
                   "42704");
    const SlotLease lease = store_->create_temporary(logical("mine", Lsn{1}), kPid);
    expect_refused([&] { store_->alter("mine", kPid, {.failover = true}); },
                   "cannot enable failover for a temporary replication slot", "0A000");
    EXPECT_NO_THROW(store_->alter("mine", kPid, {.two_phase = true}));
    EXPECT_EQ(slot("mine").active_pid, kPid);
}

// ── sessions ───────────────────────────────────────────────────────────────────────────────────────────

TEST_F(SlotStoreTest, SlotIsForOneSessionAtATime) {
    store_->create(logical("orders", Lsn{1}));
    const std::string what = "replication slot \"orders\" is active for PID 4711";
    {
        const SlotLease lease = store_->acquire("orders", kPid);
        EXPECT_EQ(lease.slot(), "orders");
        EXPECT_EQ(slot("orders").active_pid, kPid);
        EXPECT_FALSE(slot("orders").inactive_since);
        expect_refused([&] { (void)store_->acquire("orders", kOtherPid); }, what, "55006");
        expect_refused([&] { (void)store_->acquire("orders", kPid); }, what, "55006");
        expect_refused([&] { store_->drop("orders", kOtherPid); }, what, "55006");
        expect_refused([&] { store_->alter("orders", kOtherPid, {}); }, what, "55006");
        EXPECT_FALSE(store_->is_free("orders", kOtherPid));
    }
    EXPECT_EQ(slot("orders").active_pid, 0);
    EXPECT_TRUE(slot("orders").inactive_since);
    EXPECT_TRUE(store_->is_free("orders", kOtherPid));
    EXPECT_TRUE(store_->acquire("orders", kOtherPid));
    expect_refused([&] { (void)store_->acquire("nothing", kPid); },
                   "replication slot \"nothing\" does not exist", "42704");
}

TEST_F(SlotStoreTest, MovedLeaseReleasesOnce) {
    store_->create(physical("standby"));
    store_->create(physical("other"));
    SlotLease lease = store_->acquire("standby", kPid);
    SlotLease moved = std::move(lease);
    EXPECT_EQ(slot("standby").active_pid, kPid);
    moved = store_->acquire("other", kPid);
    EXPECT_EQ(slot("standby").active_pid, 0);
    EXPECT_EQ(slot("other").active_pid, kPid);
    moved = {};
    EXPECT_EQ(slot("other").active_pid, 0);
    EXPECT_FALSE(moved);
}

TEST_F(SlotStoreTest, TemporarySlotEndsWithItsSession) {
    {
        const SlotLease lease = store_->create_temporary(physical("backup", Lsn{0x10}), kPid);
        store_->create(physical("standby"));
        EXPECT_TRUE(slot("backup").temporary);
        EXPECT_EQ(slot("backup").active_pid, kPid);
        EXPECT_EQ(after_crash().size(), 1U);
        // START_REPLICATION on the same connection, and its end.
        EXPECT_TRUE(store_->acquire("backup", kPid).advance(Lsn{0x20}));
        EXPECT_EQ(slot("backup").active_pid, kPid);
        EXPECT_EQ(slot("backup").position, Lsn{0x20});
        expect_refused([&] { (void)store_->acquire("backup", kOtherPid); },
                       "replication slot \"backup\" is active for PID 4711", "55006");
    }
    EXPECT_FALSE(store_->find("backup"));
}

TEST_F(SlotStoreTest, LeaseOfADroppedSlotLeavesItsSuccessorAlone) {
    SlotLease first = store_->create_temporary(physical("backup", Lsn{0x10}), kPid);
    store_->drop("backup", kPid);
    EXPECT_FALSE(first.advance(Lsn{0x20}));
    const SlotLease second = store_->create_temporary(physical("backup", Lsn{0x11}), kPid);
    EXPECT_FALSE(first.advance(Lsn{0x20}));
    first = {};
    EXPECT_EQ(slot("backup").position, Lsn{0x11});
}

TEST_F(SlotStoreTest, TemporarySlotTakesNoFailover) {
    NewSlot wanted = logical("mine", Lsn{1});
    wanted.failover = true;
    expect_refused([&] { (void)store_->create_temporary(wanted, kPid); },
                   "cannot enable failover for a temporary replication slot", "0A000");
}

// ── positions ──────────────────────────────────────────────────────────────────────────────────────────

TEST_F(SlotStoreTest, SlotNeverMovesBack) {
    store_->create(logical("orders", Lsn{0x100}));
    const SlotLease lease = store_->acquire("orders", kPid);
    EXPECT_TRUE(lease.advance(Lsn{0x200}));
    EXPECT_TRUE(lease.advance(Lsn{0x150}));
    EXPECT_TRUE(lease.advance(Lsn{}));
    EXPECT_EQ(slot("orders").position, Lsn{0x200});
    store_->save();
    EXPECT_TRUE(lease.advance(Lsn{0x150}));
    store_->save();
    EXPECT_EQ(after_crash().at("orders").position, Lsn{0x200});
}

TEST_F(SlotStoreTest, PositionIsPersistedBySave) {
    store_->create(logical("orders", Lsn{0x100}));
    const SlotLease lease = store_->acquire("orders", kPid);
    lease.advance(Lsn{0x200});
    EXPECT_EQ(slot("orders").position, Lsn{0x200});
    EXPECT_EQ(slot("orders").persisted, Lsn{0x100});
    EXPECT_EQ(after_crash().at("orders").position, Lsn{0x100});
    EXPECT_TRUE(store_->save());
    EXPECT_EQ(slot("orders").persisted, Lsn{0x200});
    EXPECT_EQ(after_crash().at("orders").position, Lsn{0x200});
}

TEST_F(SlotStoreTest, SaveWritesOnlyWhatHasMoved) {
    EXPECT_FALSE(store_->save());
    EXPECT_FALSE(fs::exists(directory_ / "slots"));
    store_->create(physical("standby", Lsn{0x100}));
    EXPECT_FALSE(store_->save());
    const SlotLease lease = store_->acquire("standby", kPid);
    const SlotLease temporary = store_->create_temporary(physical("backup", Lsn{0x10}), kPid);
    lease.advance(Lsn{0x100});
    temporary.advance(Lsn{0x20});
    EXPECT_FALSE(store_->save());
    lease.advance(Lsn{0x101});
    EXPECT_TRUE(store_->save());
    EXPECT_FALSE(store_->save());
}

TEST_F(SlotStoreTest, RetentionMayUseOnlyWhatIsPersisted) {
    EXPECT_FALSE(oldest("shop"));
    EXPECT_FALSE(oldest(""));
    store_->create(logical("orders", Lsn{0x100}));
    store_->create(logical("stock", Lsn{0x180}));
    store_->create(logical("elsewhere", Lsn{0x10}, "other"));
    store_->create(physical("standby", Lsn{0x20}));
    EXPECT_EQ(oldest("shop"), Lsn{0x100});
    EXPECT_EQ(oldest("other"), Lsn{0x10});
    EXPECT_EQ(oldest(""), Lsn{0x20});

    const SlotLease lease = store_->acquire("orders", kPid);
    lease.advance(Lsn{0x200});
    EXPECT_EQ(oldest("shop"), Lsn{0x100});
    store_->save();
    EXPECT_EQ(oldest("shop"), Lsn{0x180});
    store_->drop("stock", kPid);
    EXPECT_EQ(oldest("shop"), Lsn{0x200});
}

TEST_F(SlotStoreTest, SlotThatWasNeverSavedHoldsWhatItsDownstreamReliesOn) {
    store_->create(physical("standby"));
    EXPECT_FALSE(oldest(""));
    const SlotLease lease = store_->acquire("standby", kPid);
    lease.advance(Lsn{0x100});
    EXPECT_EQ(oldest(""), Lsn{0x100});
    const SlotLease temporary = store_->create_temporary(physical("backup", Lsn{0x10}), kPid);
    EXPECT_EQ(oldest(""), Lsn{0x10});
    temporary.advance(Lsn{0x20});
    EXPECT_EQ(oldest(""), Lsn{0x20});
}

// ── invalidation ───────────────────────────────────────────────────────────────────────────────────────

TEST_F(SlotStoreTest, InvalidatedSlotHoldsNothingAndIsRefused) {
    store_->create(logical("orders", Lsn{0x100}));
    EXPECT_TRUE(store_->invalidate("orders", "wal_removed"));
    EXPECT_FALSE(oldest("shop"));
    EXPECT_EQ(after_crash().at("orders").invalidation_reason, "wal_removed");
    const auto refused = [&](const auto& call) {
        expect_refused(call, "can no longer access replication slot \"orders\"", "55000");
    };
    refused([&] { (void)store_->acquire("orders", kPid); });
    refused([&] { store_->alter("orders", kPid, {}); });
    EXPECT_FALSE(store_->invalidate("orders", "idle_timeout"));
    EXPECT_EQ(slot("orders").invalidation_reason, "wal_removed");
    store_->drop("orders", kPid);
    EXPECT_TRUE(after_crash().empty());
}

TEST_F(SlotStoreTest, SessionLearnsFromItsLeaseThatTheSlotIsInvalidated) {
    store_->create(logical("orders", Lsn{0x100}));
    const SlotLease lease = store_->acquire("orders", kPid);
    store_->invalidate("orders", "wal_removed");
    EXPECT_FALSE(lease.advance(Lsn{0x200}));
    EXPECT_EQ(slot("orders").position, Lsn{0x100});
    EXPECT_EQ(slot("orders").active_pid, kPid);
}

TEST_F(SlotStoreTest, OnlyASlotThatIsThereIsInvalidatedForAWord) {
    EXPECT_FALSE(store_->invalidate("orders", "wal_removed"));
    EXPECT_THROW(store_->invalidate("orders", "it lagged"), Error);
}

// ── what a crash leaves ────────────────────────────────────────────────────────────────────────────────

// ── a failover of the upstream ─────────────────────────────────────────────────────────────────────────

namespace {

const SlotStore::Divergence kFailover{
    .database = "shop", .feed = "sales", .end = Lsn{0x200}, .lost = Lsn{0x300}};

}  // namespace

TEST_F(SlotStoreTest, SlotBeyondTheEndOfItsHistoryGoesBackOrIsInvalidatedForGood) {
    const auto make = [&](const std::string& name, Lsn position, const std::string& feed) {
        store_->create(logical(name, position, name == "elsewhere" ? "other" : "shop"));
        if (!feed.empty()) store_->bind(store_->acquire(name, kPid), feed);
    };
    make("before", Lsn{0x1F0}, "sales");
    make("told", Lsn{0x2FF}, "sales");
    make("took_it", Lsn{0x300}, "sales");
    make("copied", Lsn{0x201}, "");
    make("new", Lsn{0x200}, "");
    make("of_another_feed", Lsn{0x400}, "stock");
    make("elsewhere", Lsn{0x400}, "sales");
    store_->create(physical("standby", Lsn{0x400}));

    EXPECT_THAT(store_->leave(kFailover),
                ElementsAre(Field(&Slot::name, "copied"), Field(&Slot::name, "took_it")));
    const auto expect_left = [](const Slots& slots) {
        EXPECT_EQ(slots.at("before").position, Lsn{0x1F0});
        EXPECT_EQ(slots.at("told").position, Lsn{0x200});
        EXPECT_EQ(slots.at("took_it").invalidation_reason, "diverged");
        EXPECT_EQ(slots.at("copied").invalidation_reason, "diverged");
        EXPECT_EQ(slots.at("new").position, Lsn{0x200});
        for (const char* name : {"of_another_feed", "elsewhere", "standby"})
            EXPECT_EQ(slots.at(name).position, Lsn{0x400}) << name;
        for (const char* name : {"before", "told", "new", "of_another_feed", "elsewhere", "standby"})
            EXPECT_FALSE(slots.at(name).is_invalidated()) << name;
    };
    expect_left(after_crash());
    EXPECT_TRUE(store_->leave(kFailover).empty());
    expect_left(after_crash());
}

TEST_F(SlotStoreTest, SessionLosesASlotWhoseHistoryHasEndedAndCantMoveIt) {
    store_->create(logical("orders", Lsn{0x100}));
    const SlotLease old = store_->acquire("orders", kPid);
    store_->bind(old, "sales");
    EXPECT_TRUE(old.advance(Lsn{0x280}));
    (void)store_->leave(kFailover);
    EXPECT_FALSE(old.advance(Lsn{0x280}));
    const SlotLease again = store_->acquire("orders", kOtherPid);
    EXPECT_FALSE(old.advance(Lsn{0x280}));
    EXPECT_EQ(slot("orders").position, Lsn{0x200});
    EXPECT_TRUE(again.advance(Lsn{0x240}));
    EXPECT_EQ(slot("orders").position, Lsn{0x240});
}

TEST_F(SlotStoreTest, TemporarySlotEndsWithItsHistory) {
    const SlotLease unread = store_->create_temporary(logical("unread", Lsn{0x100}), kPid);
    const SlotLease read = store_->create_temporary(logical("read", Lsn{0x100}), kPid);
    store_->bind(read, "sales");
    EXPECT_THAT(store_->leave(kFailover), ElementsAre(Field(&Slot::name, "read")));
    EXPECT_FALSE(read.advance(Lsn{0x280}));
    EXPECT_TRUE(unread.advance(Lsn{0x180}));
}

// It is asked once, when it comes back.
TEST_F(SlotStoreTest, ClientThatComesBackTellsWhatItHasTaken) {
    store_->create(logical("orders", Lsn{0x100}));
    EXPECT_EQ(slot("orders").start_for(Lsn{0x280}), Lsn{0x280});
    store_->bind(store_->acquire("orders", kPid), "sales");
    (void)store_->leave(kFailover);
    const Slot left = after_crash().at("orders");
    EXPECT_EQ(left.start_for(Lsn{}), Lsn{0x100});
    EXPECT_EQ(left.start_for(Lsn{0x180}), Lsn{0x180});
    EXPECT_EQ(left.start_for(Lsn{0x280}), Lsn{0x200});
    EXPECT_FALSE(left.has_lost(Lsn{0x2FF}));
    EXPECT_TRUE(left.has_lost(Lsn{0x300}));

    // Failed over once more before it came: what it may have taken begins where the first one did.
    (void)store_->leave({.database = "shop", .feed = "sales", .end = Lsn{0x250}, .lost = Lsn{0x260}});
    EXPECT_EQ(slot("orders").start_for(Lsn{0x280}), Lsn{0x200});
    EXPECT_TRUE(slot("orders").has_lost(Lsn{0x260}));

    store_->bind(store_->acquire("orders", kPid), "sales");
    EXPECT_EQ(after_crash().at("orders").start_for(Lsn{0x280}), Lsn{0x280});
    EXPECT_FALSE(after_crash().at("orders").has_lost(Lsn{0x300}));
}

TEST_F(SlotStoreTest, SlotIsInactiveAfterAStart) {
    store_->create(logical("orders", Lsn{0x100}));
    const SlotLease lease = store_->acquire("orders", kPid);
    EXPECT_EQ(after_crash().at("orders").active_pid, 0);
    EXPECT_TRUE(after_crash().at("orders").inactive_since);
}

TEST_F(SlotStoreTest, HalfWrittenFileLeavesTheOldOne) {
    store_->create(logical("orders", Lsn{0x100}));
    write_file_durably(directory_ / "slots.tmp", "pgcascade slots 2\nord", 0600);
    EXPECT_EQ(after_crash().at("orders").position, Lsn{0x100});
    store_->create(physical("standby"));
    EXPECT_EQ(after_crash().size(), 2U);
}

TEST_F(SlotStoreTest, FailedWriteChangesNothing) {
    store_->create(logical("orders", Lsn{0x100}));
    const SlotLease lease = store_->acquire("orders", kPid);
    lease.advance(Lsn{0x200});
    // A directory with something in it can't be removed, so the temporary file can't be made.
    fs::create_directories(directory_ / "slots.tmp" / "x");
    EXPECT_THROW(store_->create(physical("standby")), SystemError);
    EXPECT_THROW(store_->save(), SystemError);
    EXPECT_THROW(store_->invalidate("orders", "wal_removed"), SystemError);
    EXPECT_FALSE(store_->find("standby"));
    EXPECT_FALSE(slot("orders").is_invalidated());
    EXPECT_EQ(slot("orders").persisted, Lsn{0x100});
    EXPECT_EQ(oldest("shop"), Lsn{0x100});

    fs::remove_all(directory_ / "slots.tmp");
    EXPECT_TRUE(store_->save());
    EXPECT_EQ(after_crash().at("orders").position, Lsn{0x200});
}

TEST_F(SlotStoreTest, FailedDropLeavesTheSlotFree) {
    store_->create(physical("standby"));
    fs::create_directories(directory_ / "slots.tmp" / "x");
    EXPECT_THROW(store_->drop("standby", kPid), SystemError);
    EXPECT_EQ(slot("standby").active_pid, 0);
    EXPECT_TRUE(store_->acquire("standby", kOtherPid));
}

TEST_F(SlotStoreTest, DamagedFileIsRefusedWithWhatToDo) {
    store_->create(physical("standby"));
    std::string text = read_file(directory_ / "slots");
    text[text.size() / 2] ^= 1;
    write_file_durably(directory_ / "slots", text, 0600);
    try {
        const SlotStore damaged{directory_};
        FAIL() << "was accepted";
    } catch (const LogCorrupt& problem) {
        EXPECT_THAT(problem.what(), HasSubstr((directory_ / "slots").string()));
        EXPECT_THAT(problem.hint(), HasSubstr("remove it"));
    }
}

// Each round kills a relay that makes slots at another moment: what it has said it made is there.
TEST_F(SlotStoreTest, KilledAtAnyMomentLeavesWhatWasPromised) {
    for (int round = 0; round < 20; ++round) {
        const TemporaryDirectory temporary;
        int pipe_ends[2];
        ASSERT_EQ(::pipe(pipe_ends), 0);
        const FileDescriptor reading{pipe_ends[0]};
        FileDescriptor writing{pipe_ends[1]};
        const pid_t child = ::fork();
        if (child == 0) {
            SlotStore store{temporary.path()};
            for (int i = 0;; ++i) {
                store.create(physical("s" + std::to_string(i)));
                write_all(writing.get(), "x", "pipe");
            }
        }
        ASSERT_GT(child, 0);
        writing.reset();
        std::size_t promised = 0;
        char byte = 0;
        while (promised < static_cast<std::size_t>(round) && ::read(reading.get(), &byte, 1) == 1) ++promised;
        ::kill(child, SIGKILL);
        ASSERT_EQ(::waitpid(child, nullptr, 0), child);
        while (::read(reading.get(), &byte, 1) == 1) ++promised;

        const SlotStore store{temporary.path()};
        const std::size_t there = store.list().size();
        EXPECT_GE(there, promised);
        EXPECT_LE(there, promised + 1);
        for (std::size_t i = 0; i < promised; ++i) EXPECT_TRUE(store.find("s" + std::to_string(i))) << i;
    }
}

// ── threads ────────────────────────────────────────────────────────────────────────────────────────────

TEST_F(SlotStoreTest, ThreadsShareItAndLoseNothing) {
    constexpr int kSessions = 4;
    constexpr std::uint64_t kSteps = 2000;
    store_->create(physical("contended"));
    for (int session = 0; session < kSessions; ++session)
        store_->create(logical("s" + std::to_string(session), Lsn{1}));
    std::atomic<int> running{kSessions};
    std::vector<std::thread> threads;
    for (int session = 0; session < kSessions; ++session)
        threads.emplace_back([this, session, &running] {
            const std::string mine = "s" + std::to_string(session);
            {
                const SlotLease lease = store_->acquire(mine, session + 1);
                for (std::uint64_t step = 1; step <= kSteps; ++step) {
                    EXPECT_TRUE(lease.advance(Lsn{step}));
                    try {
                        const SlotLease other = store_->acquire("contended", session + 1);
                        EXPECT_EQ(store_->find("contended").value().active_pid, session + 1);
                        other.advance(Lsn{step});
                    } catch (const ServerError& problem) {
                        EXPECT_EQ(problem.sqlstate(), "55006");
                    }
                    if (step % 500 == 0) {
                        const SlotLease brief = store_->create_temporary(physical(mine + "t"), session + 1);
                        EXPECT_TRUE(store_->find(mine + "t"));
                    }
                }
            }
            --running;
        });
    threads.emplace_back([this, &running] {
        Lsn last;
        while (running > 0) {
            store_->save();
            for (const Slot& slot : store_->list()) EXPECT_LE(slot.persisted, slot.position);
            const Lsn held = oldest("shop").value();
            EXPECT_GE(held, last);
            last = held;
        }
    });
    for (std::thread& thread : threads) thread.join();
    store_->save();
    for (int session = 0; session < kSessions; ++session)
        EXPECT_EQ(after_crash().at("s" + std::to_string(session)).position, Lsn{kSteps});
    EXPECT_EQ(slot("contended").active_pid, 0);
}

}  // namespace pgcascade::relay
