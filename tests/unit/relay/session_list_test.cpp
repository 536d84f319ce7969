#include "relay/session_list.hpp"

#include <set>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace pgcascade::relay {

namespace {

struct Calls {
    int cancelled = 0;
    int stopped = 0;

    SessionList::Handlers handlers() {
        return {[this] { ++cancelled; }, [this] { ++stopped; }};
    }
};

SessionInfo info_of(const std::string& user) {
    SessionInfo info;
    info.user = user;
    return info;
}

}  // namespace

TEST(SessionList, SessionIsListedFromItsBeginToItsEnd) {
    SessionList list;
    Calls calls;
    const auto alice = list.add(info_of("alice"), calls.handlers());
    const auto bob = list.add(info_of("bob"), calls.handlers());
    ASSERT_EQ(list.size(), 2U);
    EXPECT_EQ(list.list()[0].user, "alice");
    EXPECT_EQ(list.list()[0].pid, alice.pid);
    list.update(bob.pid, [](SessionInfo& info) { info.slot = "of bob"; });
    EXPECT_EQ(list.list()[1].slot, "of bob");
    list.remove(alice.pid);
    ASSERT_EQ(list.size(), 1U);
    EXPECT_EQ(list.list()[0].user, "bob");
    list.update(alice.pid, [](SessionInfo&) { FAIL() << "a session that is gone"; });
    list.remove(alice.pid);
    EXPECT_EQ(list.size(), 1U);
}

TEST(SessionList, NumbersAndKeysAreEachSessionsOwn) {
    SessionList list;
    std::set<std::uint32_t> pids;
    std::set<std::string> keys;
    for (int i = 0; i < 100; ++i) {
        const auto identity = list.add({}, {[] {}, [] {}});
        EXPECT_EQ(identity.key.size(), 4U);
        EXPECT_GT(static_cast<std::int32_t>(identity.pid), 0);
        pids.insert(identity.pid);
        keys.insert(identity.key);
        if (i % 2 == 0) list.remove(identity.pid);
    }
    EXPECT_EQ(pids.size(), 100U);
    EXPECT_GT(keys.size(), 95U);
}

TEST(SessionList, OnlyWhoKnowsTheKeyCancels) {
    SessionList list;
    Calls mine;
    Calls others;
    const auto identity = list.add({}, mine.handlers());
    const auto other = list.add({}, others.handlers());
    std::string wrong = identity.key;
    wrong[3] = static_cast<char>(wrong[3] ^ 1);
    for (const std::string& key : {wrong, identity.key.substr(0, 3), identity.key + "x", std::string{}})
        list.cancel(identity.pid, key);
    list.cancel(other.pid + 1, identity.key);
    EXPECT_EQ(mine.cancelled, 0);
    list.cancel(identity.pid, identity.key);
    EXPECT_EQ(mine.cancelled, 1);
    EXPECT_EQ(others.cancelled, 0);
    list.remove(identity.pid);
    list.cancel(identity.pid, identity.key);
    EXPECT_EQ(mine.cancelled, 1);
    EXPECT_EQ(mine.stopped, 0);
}

TEST(SessionList, AllAreStoppedThatAreThere) {
    SessionList list;
    Calls here;
    Calls gone;
    list.remove(list.add({}, gone.handlers()).pid);
    list.add({}, here.handlers());
    list.add({}, here.handlers());
    list.stop_all();
    EXPECT_EQ(here.stopped, 2);
    EXPECT_EQ(here.cancelled, 0);
    EXPECT_EQ(gone.stopped, 0);
}

TEST(SessionList, SessionsComeAndGoWhileOthersLookOn) {
    SessionList list;
    std::vector<std::thread> threads;
    for (int i = 0; i < 3; ++i)
        threads.emplace_back([&list] {
            for (int round = 0; round < 300; ++round) {
                const auto identity = list.add(info_of("somebody"), {[] {}, [] {}});
                list.update(identity.pid, [](SessionInfo& info) { info.feed = "shop"; });
                list.cancel(identity.pid, identity.key);
                list.remove(identity.pid);
            }
        });
    for (int round = 0; round < 300; ++round) {
        for (const SessionInfo& session : list.list()) EXPECT_EQ(session.user, "somebody");
        list.stop_all();
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(list.size(), 0U);
}

}  // namespace pgcascade::relay
