#include "relay/feed_writer.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <pgcascade/error.hpp>

#include "base/file.hpp"
#include "protocol/backend_message.hpp"
#include "unit/pgoutput/message_builder.hpp"
#include "unit/temporary_directory.hpp"

namespace pgcascade::relay {

using log::FeedEntry;
using log::FeedLog;
using log::FeedPosition;
using pgoutput::begin_message;
using pgoutput::commit_message;
using pgoutput::insert_message;
using pgoutput::logical_message;
using pgoutput::relation_message;
using pgoutput::type_message;
using testing::HasSubstr;

namespace {

std::string frame_of(const std::string& bytes) {
    std::string frame;
    protocol::append_copy_data(frame, bytes);
    return frame;
}

class FeedWriterTest : public testing::Test {
  protected:
    // Its frame, as a server sends it and downstreams get it.
    static std::string frame(const std::string& payload) { return frame_of(bytes_of(payload)); }

    static std::string bytes_of(const std::string& payload) {
        return to_bytes(protocol::XLogData{{0x99}, {0x99}, {}, payload});
    }

    static std::string relation(std::uint32_t oid, const char* table = "item") {
        return relation_message(oid, "public", table, 'd', {{"id", 23, true}});
    }

    void take(const std::string& payload) {
        const std::string bytes = bytes_of(payload);
        writer_.take(std::get<protocol::XLogData>(protocol::parse_server_message(bytes)), bytes);
    }

    std::string refusal_of(const std::string& payload) {
        try {
            take(payload);
        } catch (const ProtocolError& problem) {
            return problem.what();
        }
        return "";
    }

    std::string in_log() {
        log_.flush();
        std::string frames;
        for (FeedPosition at = log_.begin(); at < log_.finished();) {
            const auto segment = log_.segment_at(at);
            const FeedPosition end = std::min(log_.finished(), segment->end());
            frames += read_file(segment->frames_file())
                          .substr(bytes_between(segment->position(), at), bytes_between(at, end));
            at = end;
        }
        return frames;
    }

    const TemporaryDirectory temporary_;
    Definitions definitions_;
    FeedLog log_{temporary_.path(), {.preamble = [this] { return definitions_.frames(); }}};
    FeedWriter writer_{log_, definitions_};
};

}  // namespace

TEST_F(FeedWriterTest, TransactionIsOneEntryOfTheFramesAsTheyCame) {
    const std::vector<std::string> messages{begin_message(0x100), relation(7), insert_message(7, {"t1"}),
                                            insert_message(7, {"t2"}), commit_message(0x100, 0x140)};
    std::string expected;
    for (const std::string& message : messages) {
        EXPECT_EQ(writer_.in_transaction(), !expected.empty());
        EXPECT_EQ(in_log(), "") << "it is no entry before its Commit";
        take(message);
        expected += frame(message);
    }
    EXPECT_FALSE(writer_.in_transaction());
    EXPECT_EQ(in_log(), expected);
    const auto entry = log_.last();
    EXPECT_EQ(entry->commit_lsn, Lsn{0x100});
    EXPECT_EQ(entry->end_lsn, Lsn{0x140});
    EXPECT_EQ(entry->flags, FeedEntry::kHasDefinitions);
    take(begin_message(0x200));
    take(insert_message(7, {"t3"}));
    take(commit_message(0x200, 0x240));
    log_.flush();
    EXPECT_EQ(log_.last()->flags, 0U);
}

TEST_F(FeedWriterTest, DefinitionsInForceAreTheLastOfEachWithTypesFirst) {
    take(begin_message(0x100));
    take(relation(7));
    take(type_message(900, "public", "mood"));
    take(relation(8));
    take(relation(7, "item_renamed"));
    take(commit_message(0x100, 0x140));
    EXPECT_EQ(definitions_.frames(), frame(type_message(900, "public", "mood")) +
                                         frame(relation(7, "item_renamed")) + frame(relation(8)));
}

TEST_F(FeedWriterTest, MessageOutsideOfATransactionIsAnEntryOfItsOwn) {
    take(logical_message(false, 0x150, "prefix", "content"));
    EXPECT_EQ(in_log(), frame(logical_message(false, 0x150, "prefix", "content")));
    EXPECT_EQ(log_.last()->commit_lsn, Lsn{0x150});
    EXPECT_GT(log_.last()->end_lsn, Lsn{0x150});
    EXPECT_EQ(log_.last()->flags, FeedEntry::kIsLoneMessage);
    take(begin_message(0x200));
    take(logical_message(true, 0x210, "prefix", "content"));
    take(commit_message(0x200, 0x240));
    log_.flush();
    EXPECT_EQ(log_.last()->flags, 0U);
}

TEST_F(FeedWriterTest, NewSessionForgetsWhatWasUnderWayAndWhatTheOldOneAnnounced) {
    take(begin_message(0x100));
    take(relation(7));
    take(commit_message(0x100, 0x140));
    const std::string whole = in_log();
    take(begin_message(0x200));
    take(relation(8));
    log_.flush();
    writer_.start_session();
    EXPECT_FALSE(writer_.in_transaction());
    EXPECT_EQ(definitions_.frames(), "");
    EXPECT_EQ(in_log(), whole);
    EXPECT_EQ(log_.abandoned(), 1U);
    take(begin_message(0x200));
    take(insert_message(8, {"t1"}));
    take(commit_message(0x200, 0x240));
    EXPECT_EQ(in_log(), whole + frame(begin_message(0x200)) + frame(insert_message(8, {"t1"})) +
                            frame(commit_message(0x200, 0x240)));
    EXPECT_EQ(log_.last()->flags, 0U) << "what the broken one announced is none of its own";
}

TEST_F(FeedWriterTest, PositionStandsInTheLogOnceAndNeverWithinATransaction) {
    EXPECT_TRUE(writer_.take_position({0x90}, {}));
    log_.flush();
    EXPECT_EQ(log_.last()->flags, FeedEntry::kIsKeepalive);
    EXPECT_EQ(log_.last()->end_lsn, Lsn{0x90});
    EXPECT_EQ(in_log(), frame_of(to_bytes(protocol::PrimaryKeepalive{.wal_end = {0x90}, .sent_at = {}})));
    EXPECT_FALSE(writer_.take_position({0x90}, {}));
    EXPECT_FALSE(writer_.take_position({0x8F}, {}));
    take(begin_message(0x100));
    EXPECT_FALSE(writer_.take_position({0x200}, {}));
    take(commit_message(0x100, 0x140));
    log_.flush();
    EXPECT_FALSE(writer_.take_position({0x140}, {}));
    EXPECT_TRUE(writer_.take_position({0x141}, {}));
}

// A relay sends those that are in force where a session of it begins.
TEST_F(FeedWriterTest, DefinitionsBeforeABeginGoIntoTheTransactionThatFollows) {
    take(relation(7));
    log_.flush();
    EXPECT_EQ(in_log(), "");
    take(begin_message(0x100));
    take(insert_message(7, {"t1"}));
    take(commit_message(0x100, 0x140));
    EXPECT_EQ(in_log(), frame(begin_message(0x100)) + frame(relation(7)) + frame(insert_message(7, {"t1"})) +
                            frame(commit_message(0x100, 0x140)));
    EXPECT_EQ(log_.last()->flags, FeedEntry::kHasDefinitions);
    EXPECT_EQ(definitions_.frames(), frame(relation(7)));
    // Those of a session that ended before its first transaction are forgotten with it.
    take(relation(8));
    writer_.start_session();
    take(begin_message(0x200));
    take(commit_message(0x200, 0x240));
    log_.flush();
    EXPECT_EQ(log_.last()->flags, 0U);
}

TEST_F(FeedWriterTest, WhatIsOutOfPlaceIsAnErrorOfTheUpstream) {
    EXPECT_THAT(refusal_of(insert_message(7, {"t1"})), HasSubstr("a change outside of a transaction"));
    EXPECT_THAT(refusal_of(commit_message(0x100, 0x140)), HasSubstr("outside of a transaction"));
    EXPECT_EQ(in_log(), "");
    take(begin_message(0x100));
    EXPECT_THAT(refusal_of(begin_message(0x200)), HasSubstr("a Begin within a transaction"));
    EXPECT_THAT(refusal_of(logical_message(false, 0x150, "p", "c")), HasSubstr("into the middle"));
    EXPECT_THAT(refusal_of(commit_message(0x200, 0x240)), HasSubstr("the Commit of another transaction"));
    EXPECT_THAT(refusal_of("C"), HasSubstr("cut short"));
    EXPECT_THAT(refusal_of(""), HasSubstr("cut short"));
    EXPECT_THAT(refusal_of("?nothing"), HasSubstr("unknown type, 0x3F"));
    writer_.start_session();
    EXPECT_EQ(in_log(), "");
}

}  // namespace pgcascade::relay
