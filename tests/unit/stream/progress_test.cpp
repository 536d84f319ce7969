#include "stream/progress.hpp"

#include <algorithm>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include <pgcascade/error.hpp>

namespace pgcascade {
namespace {

Change begin(std::uint64_t commit_lsn) {
    Change change;
    change.operation = Operation::kBegin;
    change.commit_lsn = Lsn{commit_lsn};
    return change;
}

Change row(std::uint64_t commit_lsn, std::uint64_t ordinal) {
    Change change;
    change.operation = Operation::kInsert;
    change.commit_lsn = Lsn{commit_lsn};
    change.ordinal = ordinal;
    return change;
}

Change commit(std::uint64_t commit_lsn, std::uint64_t end_lsn) {
    Change change;
    change.operation = Operation::kCommit;
    change.commit_lsn = Lsn{commit_lsn};
    change.end_lsn = Lsn{end_lsn};
    return change;
}

Change lone_message(std::uint64_t lsn) {
    Change change;
    change.operation = Operation::kMessage;
    change.lsn = Lsn{lsn};
    return change;
}

// A transaction of `rows` rows whose commit record lies at [commit_lsn, commit_lsn + 10).
bool deliver(Progress& progress, std::uint64_t commit_lsn, std::uint64_t rows) {
    bool all = progress.admit(begin(commit_lsn));
    for (std::uint64_t ordinal = 1; ordinal <= rows; ++ordinal)
        all &= progress.admit(row(commit_lsn, ordinal));
    return progress.admit(commit(commit_lsn, commit_lsn + 10)) && all;
}

TEST(Progress, ConfirmsTheEndOfACommitAndNothingBefore) {
    Progress progress{Lsn{100}, Lsn{}};
    EXPECT_TRUE(deliver(progress, 200, 3));
    EXPECT_EQ(progress.confirmed(), Lsn{100});
    EXPECT_FALSE(progress.all_confirmed());
    progress.confirm(Lsn{210});
    EXPECT_EQ(progress.confirmed(), Lsn{210});
    EXPECT_TRUE(progress.all_confirmed());
}

TEST(Progress, AnOpenTransactionIsNeverConfirmed) {
    Progress progress{Lsn{100}, Lsn{}};
    deliver(progress, 200, 1);
    progress.admit(begin(300));
    progress.admit(row(300, 1));
    progress.confirm_delivered();
    EXPECT_EQ(progress.confirmed(), Lsn{210});
    progress.keepalive(Lsn{290});
    EXPECT_EQ(progress.confirmed(), Lsn{210});
}

TEST(Progress, TheConfirmedPositionNeverMovesBack) {
    Progress progress{Lsn{100}, Lsn{}};
    deliver(progress, 200, 1);
    deliver(progress, 300, 1);
    progress.confirm(Lsn{310});
    progress.confirm(Lsn{210});
    EXPECT_EQ(progress.confirmed(), Lsn{310});
    progress.keepalive(Lsn{50});
    EXPECT_EQ(progress.confirmed(), Lsn{310});
    EXPECT_EQ(progress.received(), Lsn{310});
}

TEST(Progress, WhatWasNeverHandedOutCannotBeConfirmed) {
    Progress progress{Lsn{100}, Lsn{}};
    deliver(progress, 200, 1);
    EXPECT_THROW(progress.confirm(Lsn{211}), Error);
    EXPECT_EQ(progress.confirmed(), Lsn{100});
}

TEST(Progress, KeepalivesConfirmWhenNothingIsPending) {
    Progress progress{Lsn{100}, Lsn{}};
    progress.keepalive(Lsn{150});
    EXPECT_EQ(progress.confirmed(), Lsn{150});
}

TEST(Progress, AKeepaliveWaitsForWhatWasDeliveredBeforeIt) {
    Progress progress{Lsn{100}, Lsn{}};
    deliver(progress, 200, 1);
    deliver(progress, 300, 1);
    progress.keepalive(Lsn{500});
    EXPECT_EQ(progress.confirmed(), Lsn{100});
    progress.confirm(Lsn{210});
    EXPECT_EQ(progress.confirmed(), Lsn{210});
    progress.confirm(Lsn{310});
    EXPECT_EQ(progress.confirmed(), Lsn{500});
}

TEST(Progress, AKeepaliveConfirmsNothingThatCameAfterIt) {
    Progress progress{Lsn{100}, Lsn{}};
    deliver(progress, 200, 1);
    progress.keepalive(Lsn{250});
    deliver(progress, 300, 1);
    progress.confirm(Lsn{210});
    EXPECT_EQ(progress.confirmed(), Lsn{250});
    EXPECT_FALSE(progress.all_confirmed());
}

TEST(Progress, StartingLaterAloneConfirmsNothing) {
    Progress progress{Lsn{100}, Lsn{5000}};
    EXPECT_EQ(progress.resume_at(), Lsn{5000});
    progress.keepalive(Lsn{120});
    EXPECT_EQ(progress.confirmed(), Lsn{120});
    progress.confirm_delivered();
    EXPECT_EQ(progress.confirmed(), Lsn{120});
}

TEST(Progress, GoesOnAfterTheLastWholeTransaction) {
    Progress progress{Lsn{100}, Lsn{}};
    EXPECT_EQ(progress.resume_at(), Lsn{100});
    deliver(progress, 200, 1);
    progress.admit(begin(300));
    EXPECT_EQ(progress.resume_at(), Lsn{210});
    progress.confirm(Lsn{210});
    EXPECT_EQ(progress.resume_at(), Lsn{210});
}

TEST(Progress, GoesOnAtAConfirmedKeepalive) {
    Progress progress{Lsn{100}, Lsn{}};
    deliver(progress, 200, 1);
    progress.confirm_delivered();
    progress.keepalive(Lsn{900});
    EXPECT_EQ(progress.resume_at(), Lsn{900});
}

// Broken off at every place within a transaction of five rows.
TEST(Progress, AHalfDeliveredTransactionGoesOnWhereItBrokeOff) {
    constexpr std::uint64_t kRows = 5;
    for (std::uint64_t delivered = 0; delivered <= kRows; ++delivered) {
        Progress progress{Lsn{100}, Lsn{}};
        progress.admit(begin(200));
        for (std::uint64_t ordinal = 1; ordinal <= delivered; ++ordinal) progress.admit(row(200, ordinal));
        progress.start_session();

        EXPECT_FALSE(progress.admit(begin(200)));
        for (std::uint64_t ordinal = 1; ordinal <= kRows; ++ordinal)
            EXPECT_EQ(progress.admit(row(200, ordinal)), ordinal > delivered)
                << ordinal << " after " << delivered;
        EXPECT_TRUE(progress.admit(commit(200, 210)));
        EXPECT_TRUE(deliver(progress, 300, 1));
    }
}

TEST(Progress, ATransactionThatBreaksOffTwiceIsStillHandedOutOnce) {
    Progress progress{Lsn{100}, Lsn{}};
    std::vector<std::uint64_t> handed_out;
    const auto session = [&](std::uint64_t rows) {
        progress.start_session();
        progress.admit(begin(200));
        for (std::uint64_t ordinal = 1; ordinal <= rows; ++ordinal)
            if (progress.admit(row(200, ordinal))) handed_out.push_back(ordinal);
    };
    session(3);
    session(2);  // broke off again, before it came to anything new
    session(5);
    EXPECT_EQ(handed_out, (std::vector<std::uint64_t>{1, 2, 3, 4, 5}));
}

TEST(Progress, AnotherTransactionInPlaceOfTheHalfDeliveredOneIsAnError) {
    Progress progress{Lsn{100}, Lsn{}};
    progress.admit(begin(200));
    progress.admit(row(200, 1));
    progress.start_session();
    EXPECT_THROW(progress.admit(begin(300)), Error);
}

TEST(Progress, AHalfDeliveredTransactionThatComesBackShorterIsAnError) {
    Progress progress{Lsn{100}, Lsn{}};
    progress.admit(begin(200));
    for (std::uint64_t ordinal = 1; ordinal <= 3; ++ordinal) progress.admit(row(200, ordinal));
    progress.start_session();
    progress.admit(begin(200));
    progress.admit(row(200, 1));
    EXPECT_THROW(progress.admit(commit(200, 210)), Error);
}

TEST(Progress, LoneMessagesAreHandedOutOnceAndConfirmed) {
    Progress progress{Lsn{100}, Lsn{}};
    EXPECT_TRUE(progress.admit(lone_message(150)));
    progress.keepalive(Lsn{160});
    EXPECT_EQ(progress.confirmed(), Lsn{100});
    progress.start_session();
    EXPECT_EQ(progress.resume_at(), Lsn{150});
    EXPECT_FALSE(progress.admit(lone_message(150)));
    EXPECT_TRUE(progress.admit(lone_message(170)));
    progress.confirm(Lsn{150});
    EXPECT_EQ(progress.confirmed(), Lsn{160});
    progress.confirm(Lsn{170});
    EXPECT_TRUE(progress.all_confirmed());
}

// A server with a fixed history, connections that break at random, a consumer that confirms at random: every
// change is handed out once and in order, and nothing is confirmed that the consumer has not confirmed.
TEST(Progress, RandomBreaksLoseNothingAndRepeatNothing) {
    const std::uint32_t seed = std::random_device{}();
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random{seed};
    const auto chance = [&](int one_in) {
        return std::uniform_int_distribution<int>{1, one_in}(random) == 1;
    };

    struct Transaction {
        std::uint64_t commit_lsn;
        std::uint64_t rows;
    };
    std::vector<Transaction> history;
    std::vector<std::pair<std::uint64_t, std::uint64_t>> expected;
    for (std::uint64_t lsn = 1000; lsn < 21000; lsn += 20) {
        history.push_back({lsn, std::uniform_int_distribution<std::uint64_t>{1, 6}(random)});
        for (std::uint64_t ordinal = 1; ordinal <= history.back().rows; ++ordinal)
            expected.emplace_back(lsn, ordinal);
    }

    Progress progress{Lsn{500}, Lsn{}};
    std::vector<std::pair<std::uint64_t, std::uint64_t>> handed_out;
    Lsn taken{500};
    while (handed_out.size() < expected.size() || progress.in_transaction()) {
        const Lsn start = progress.resume_at();
        progress.start_session();
        bool broken = false;
        for (const Transaction& transaction : history) {
            if (Lsn{transaction.commit_lsn} < start) continue;
            if (chance(10) && !progress.in_transaction()) progress.keepalive(Lsn{transaction.commit_lsn});
            progress.admit(begin(transaction.commit_lsn));
            for (std::uint64_t ordinal = 1; ordinal <= transaction.rows && !broken; ++ordinal) {
                if (progress.admit(row(transaction.commit_lsn, ordinal)))
                    handed_out.emplace_back(transaction.commit_lsn, ordinal);
                broken = chance(40);
            }
            if (broken) break;
            progress.admit(commit(transaction.commit_lsn, transaction.commit_lsn + 10));
            if (chance(3)) progress.confirm(taken = Lsn{transaction.commit_lsn + 10});
            const auto not_taken = std::find_if(history.begin(), history.end(), [&](const Transaction& each) {
                return Lsn{each.commit_lsn} >= taken;
            });
            if (not_taken != history.end()) {
                EXPECT_LE(progress.confirmed(), Lsn{not_taken->commit_lsn});
            }
            if (chance(15)) break;
        }
    }
    EXPECT_EQ(handed_out, expected);
}

}  // namespace
}  // namespace pgcascade
