#include "relay/feed_cursor.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <pgcascade/error.hpp>

#include "protocol/backend_message.hpp"
#include "unit/pgoutput/message_builder.hpp"
#include "unit/temporary_directory.hpp"

namespace pgcascade::relay {

using pgoutput::begin_message;
using pgoutput::commit_message;
using pgoutput::insert_message;
using pgoutput::relation_message;
using testing::HasSubstr;

namespace {

class FeedCursorTest : public testing::Test {
  protected:
    FeedCursorTest() { feed_.set_facts(facts()); }

    static UpstreamFacts facts() {
        return {.system_identifier = "7",
                .timeline = {1},
                .database = "shop",
                .publications = {"pub"},
                .start = {0x100},
                .parameters = {}};
    }

    static FeedConfig config() {
        return {.name = "shop", .upstream = {}, .database = "shop", .publications = {"pub"}};
    }

    static std::string bytes_of(const std::string& payload) {
        return to_bytes(protocol::XLogData{{0x99}, {0x99}, {}, payload});
    }
    static std::string frame(const std::string& payload) {
        std::string frame;
        protocol::append_copy_data(frame, bytes_of(payload));
        return frame;
    }

    void take(const std::string& payload) {
        const std::string bytes = bytes_of(payload);
        feed_.writer().take(std::get<protocol::XLogData>(protocol::parse_server_message(bytes)), bytes);
        feed_.log().flush();
    }

    // A transaction of one row, which commits at that LSN; its frames.
    std::string write(std::uint64_t lsn, bool announces = false) {
        std::vector<std::string> messages{begin_message(lsn), insert_message(7, {"t1"}),
                                          commit_message(lsn, lsn + 8)};
        if (announces) messages.insert(messages.begin() + 1, relation());
        std::string frames;
        for (const std::string& message : messages) {
            take(message);
            frames += frame(message);
        }
        feed_.set_mark({feed_.log().finished(), {lsn + 8}});
        return frames;
    }

    static std::string relation() { return relation_message(7, "public", "item", 'd', {{"id", 23, true}}); }

    // All that it gives until it waits for news.
    static std::string read(FeedCursor& cursor) {
        std::string frames;
        while (const auto span = cursor.next()) {
            std::string bytes(span->bytes, '\0');
            EXPECT_EQ(::pread(span->segment->frames_fd(), bytes.data(), bytes.size(),
                              static_cast<off_t>(span->offset)),
                      static_cast<ssize_t>(bytes.size()));
            cursor.advance(span->bytes);
            frames += bytes;
        }
        return frames;
    }

    template <class Act>
    static std::string refusal_of(const Act& act) {
        try {
            act();
        } catch (const ServerError& problem) {
            return problem.sqlstate() + " " + problem.what();
        }
        return "";
    }

    const TemporaryDirectory temporary_;
    Feed feed_{config(), temporary_.path()};
};

}  // namespace

TEST_F(FeedCursorTest, ReaderGetsWhatIsThereAndThenWhatComes) {
    const std::string first = write(0x110);
    FeedCursor cursor{feed_, {0x100}};
    EXPECT_EQ(read(cursor), first);
    EXPECT_FALSE(cursor.next());
    EXPECT_EQ(cursor.given(), Lsn{0x118});
    const std::string second = write(0x120);
    EXPECT_EQ(read(cursor), second);
    EXPECT_EQ(cursor.given(), Lsn{0x128});
}

TEST_F(FeedCursorTest, EverythingIsSkippedWhoseCommitLiesBelowTheStart) {
    std::map<std::uint64_t, std::string> frames;
    for (const std::uint64_t lsn : {0x110, 0x120, 0x130}) frames[lsn] = write(lsn);
    for (std::uint64_t start = 0x100; start <= 0x138; ++start) {
        std::string expected;
        for (const auto& [lsn, bytes] : frames)
            if (lsn >= start) expected += bytes;
        FeedCursor cursor{feed_, {start}};
        EXPECT_EQ(read(cursor), expected) << start;
    }
}

TEST_F(FeedCursorTest, WhoIsAheadOfTheLogWaitsUntilItKnowsWhereItStands) {
    write(0x110);
    FeedCursor cursor{feed_, {0x128}};
    EXPECT_FALSE(cursor.stands());
    EXPECT_FALSE(cursor.next());
    EXPECT_EQ(cursor.given(), Lsn{0x128});
    EXPECT_EQ(cursor.take_definitions(), "");
    take(begin_message(0x120));
    take(insert_message(7, {"t1"}));
    EXPECT_FALSE(cursor.next()) << "what is under way may still lie below";
    take(commit_message(0x120, 0x128));
    EXPECT_EQ(read(cursor), "");
    const std::string wanted = write(0x128);
    EXPECT_EQ(read(cursor), wanted);
    EXPECT_TRUE(cursor.stands());
}

// The copy of a table ends once its reader is told of the position that the subscription is at.
TEST_F(FeedCursorTest, WhoIsAheadOfTheLogIsToldHowFarTheUpstreamIs) {
    write(0x110);
    FeedCursor cursor{feed_, {0x128}};
    feed_.set_mark({feed_.log().finished(), {0x500}});
    EXPECT_EQ(cursor.given(), Lsn{0x500});
    const std::string wanted = write(0x510);
    feed_.set_mark({feed_.log().finished(), {0x600}});
    EXPECT_EQ(cursor.given(), Lsn{0x128}) << "what has come may have to be given first";
    EXPECT_EQ(read(cursor), wanted);
    EXPECT_EQ(cursor.given(), Lsn{0x600});
}

TEST_F(FeedCursorTest, TransactionIsGivenAsItComes) {
    write(0x110);
    FeedCursor cursor{feed_, {0x118}};
    take(begin_message(0x120));
    EXPECT_EQ(read(cursor), frame(begin_message(0x120)));
    EXPECT_EQ(cursor.given(), Lsn{0x118});
    take(insert_message(7, {"t1"}));
    take(commit_message(0x120, 0x128));
    feed_.set_mark({feed_.log().finished(), {0x128}});
    EXPECT_EQ(read(cursor), frame(insert_message(7, {"t1"})) + frame(commit_message(0x120, 0x128)));
    EXPECT_EQ(cursor.given(), Lsn{0x128});
}

TEST_F(FeedCursorTest, DefinitionsInForceComeOnceAndFirst) {
    const std::string first = write(0x110, true);
    const std::string second = write(0x120);
    FeedCursor later{feed_, {0x120}};
    EXPECT_EQ(later.take_definitions(), frame(relation()));
    EXPECT_EQ(later.take_definitions(), "");
    EXPECT_EQ(read(later), second);
    FeedCursor earlier{feed_, {0x100}};
    EXPECT_EQ(earlier.take_definitions(), "") << "they come with the transaction itself";
    EXPECT_EQ(read(earlier), first + second);
}

TEST_F(FeedCursorTest, WhoReadOfATransactionThatIsBrokenOffMustBeginAnew) {
    const std::string first = write(0x110);
    FeedCursor inside{feed_, {0x118}};
    FeedCursor before{feed_, {0x100}};
    take(begin_message(0x120));
    EXPECT_EQ(read(inside), frame(begin_message(0x120)));
    feed_.writer().start_session();
    EXPECT_EQ(refusal_of([&] { inside.next(); }).substr(0, 5), "08006");
    EXPECT_EQ(read(before), first);
    const std::string again = write(0x120);
    EXPECT_EQ(read(before), again);
    FeedCursor anew{feed_, {0x118}};
    EXPECT_EQ(read(anew), again);
    // Nor does it help that all of it has come again.
    EXPECT_EQ(refusal_of([&] { inside.next(); }).substr(0, 5), "08006");
}

TEST_F(FeedCursorTest, WhoHasNotAskedBeforeItCameAgainMustBeginAnewToo) {
    write(0x110);
    FeedCursor inside{feed_, {0x118}};
    take(begin_message(0x120));
    EXPECT_EQ(read(inside), frame(begin_message(0x120)));
    feed_.writer().start_session();
    write(0x120);
    EXPECT_EQ(refusal_of([&] { inside.next(); }).substr(0, 5), "08006");
}

TEST_F(FeedCursorTest, IdleReaderIsToldHowFarTheUpstreamIs) {
    write(0x110);
    FeedCursor cursor{feed_, {0x100}};
    feed_.set_mark({feed_.log().finished(), {0x500}});
    EXPECT_EQ(cursor.given(), Lsn{0x100}) << "something is still to be given";
    read(cursor);
    EXPECT_EQ(cursor.given(), Lsn{0x500});
}

TEST_F(FeedCursorTest, StartThatTheLogDoesNotReachBackToIsRefused) {
    EXPECT_THAT(refusal_of([&] { FeedCursor(feed_, {0xFF}); }),
                HasSubstr("58P01 feed \"shop\" does not reach back to 0/FF: it begins after 0/100"));
    const TemporaryDirectory temporary;
    const Feed unknown{config(), temporary.path()};
    EXPECT_THAT(refusal_of([&] { FeedCursor(unknown, {0x100}); }),
                HasSubstr("57P03 feed \"shop\" has not reached its upstream yet"));
}

// -- A failover of the upstream --

// It may have been told of positions that the upstream has not come to again.
TEST_F(FeedCursorTest, EveryCursorEndsOnceTheLogIsCutBack) {
    const std::string first = write(0x200);
    FeedCursor behind{feed_, {0x100}};
    FeedCursor at_the_end{feed_, {0x100}};
    const std::string second = write(0x300);
    EXPECT_EQ(read(at_the_end), first + second);
    FeedCursor ahead{feed_, {0x400}};
    EXPECT_FALSE(ahead.next());
    feed_.cut_back({0x250});
    for (FeedCursor* cursor : {&behind, &at_the_end, &ahead})
        EXPECT_THAT(refusal_of([&] { cursor->next(); }), HasSubstr("08006 the upstream was failed over"));
    EXPECT_EQ(feed_.mark().upto, Lsn{0x250});
    FeedCursor again{feed_, {0x100}};
    EXPECT_EQ(read(again), first);
    EXPECT_EQ(again.given(), Lsn{0x250});
    const std::string other = write(0x260);
    EXPECT_EQ(read(again), other);
}

}  // namespace pgcascade::relay
