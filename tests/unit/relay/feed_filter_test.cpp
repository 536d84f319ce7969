#include "relay/feed_filter.hpp"

#include <gtest/gtest.h>

#include "unit/pgoutput/message_builder.hpp"

namespace pgcascade::relay {

using pgoutput::begin_message;
using pgoutput::commit_message;
using pgoutput::insert_message;
using pgoutput::logical_message;
using pgoutput::origin_message;
using pgoutput::relation_message;

namespace {

const std::string kBegin = begin_message(0x100);
const std::string kOrigin = origin_message("elsewhere");
const std::string kRelation = relation_message(7, "public", "item", 'd', {{"id", 23, true}});
const std::string kRow = insert_message(7, {"t1"});
const std::string kMessage = logical_message(true, 0x110, "prefix", "content");
const std::string kLoneMessage = logical_message(false, 0x110, "prefix", "content");
const std::string kCommit = commit_message(0x100, 0x140);

// The frames that are left; the payloads stand for them.
std::string left_of(FeedFilter& filter, const std::vector<std::string>& payloads) {
    std::string out;
    for (const std::string& payload : payloads) filter.take({.bytes = payload, .payload = payload}, out);
    return out;
}

std::string left_of(const FeedSelection& selection, const std::vector<std::string>& payloads) {
    FeedFilter filter{selection};
    return left_of(filter, payloads);
}

}  // namespace

TEST(FeedFilter, TransactionsFromElsewhereAreLeftOutButForWhatTheyAnnounce) {
    const FeedSelection local{.only_local = true};
    EXPECT_EQ(left_of(local, {kBegin, kOrigin, kRelation, kRow, kCommit, kBegin, kRow, kCommit}),
              kRelation + kBegin + kRow + kCommit);
    EXPECT_EQ(left_of(local, {kBegin, kMessage, kCommit, kLoneMessage}),
              kBegin + kMessage + kCommit + kLoneMessage);
}

TEST(FeedFilter, MessagesAreLeftOut) {
    const FeedSelection rows{.no_messages = true};
    EXPECT_EQ(left_of(rows, {kBegin, kMessage, kRow, kMessage, kCommit, kLoneMessage}),
              kBegin + kRow + kCommit);
    EXPECT_EQ(left_of(rows, {kBegin, kOrigin, kMessage, kRow, kCommit}), kBegin + kOrigin + kRow + kCommit);
}

TEST(FeedFilter, OfATransactionOfMessagesNothingIsLeft) {
    const FeedSelection rows{.no_messages = true};
    EXPECT_EQ(left_of(rows, {kBegin, kMessage, kCommit, kBegin, kRow, kCommit}), kBegin + kRow + kCommit);
    EXPECT_EQ(left_of(rows, {kBegin, kCommit}), kBegin + kCommit) << "its upstream sent it empty";
}

TEST(FeedFilter, BothCanBeLeftOut) {
    EXPECT_EQ(left_of({.only_local = true, .no_messages = true},
                      {kBegin, kOrigin, kMessage, kRow, kCommit, kBegin, kMessage, kRow, kCommit}),
              kBegin + kRow + kCommit);
}

TEST(FeedFilter, ATransactionMayComeInParts) {
    FeedFilter filter{{.only_local = true, .no_messages = true}};
    EXPECT_EQ(left_of(filter, {kBegin}), "");
    EXPECT_EQ(left_of(filter, {kMessage}), "");
    EXPECT_EQ(left_of(filter, {kRow}), kBegin + kRow);
    EXPECT_EQ(left_of(filter, {kMessage, kCommit}), kCommit);
    EXPECT_EQ(left_of(filter, {kBegin, kOrigin}), "");
    EXPECT_EQ(left_of(filter, {kRow, kCommit, kBegin, kRow}), kBegin + kRow);
}

}  // namespace pgcascade::relay
