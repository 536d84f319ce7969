#include "protocol/replication_message.hpp"

#include <limits>

#include <gtest/gtest.h>

#include <pgcascade/error.hpp>

#include "base/clock.hpp"

namespace pgcascade::protocol {

static const Timestamp kTime = from_postgres_time(812'345'678'901'234);

TEST(ReplicationMessage, XLogDataIsReadAsItWasWritten) {
    const std::string bytes = to_bytes(
        XLogData{.wal_start = {0x16B374D848}, .wal_end = {0x16B374D900}, .sent_at = kTime, .payload = "abc"});
    EXPECT_EQ(bytes.size(), 25u + 3u);
    const auto message = std::get<XLogData>(parse_server_message(bytes));
    EXPECT_EQ(message.wal_start, Lsn{0x16B374D848});
    EXPECT_EQ(message.wal_end, Lsn{0x16B374D900});
    EXPECT_EQ(message.sent_at, kTime);
    EXPECT_EQ(message.payload, "abc");
    EXPECT_EQ(message.payload.data(), bytes.data() + 25);
}

TEST(ReplicationMessage, XLogDataIsBigEndianOnTheWire) {
    const std::string bytes("w\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0\3", 25);
    const auto message = std::get<XLogData>(parse_server_message(bytes));
    EXPECT_EQ(message.wal_start, Lsn{1});
    EXPECT_EQ(message.wal_end, Lsn{2});
    EXPECT_EQ(message.sent_at, Timestamp{kPostgresEpoch} + std::chrono::microseconds{3});
    EXPECT_EQ(message.payload, "");
}

TEST(ReplicationMessage, KeepaliveIsReadAsItWasWritten) {
    const std::string bytes =
        to_bytes(PrimaryKeepalive{.wal_end = {77}, .sent_at = kTime, .reply_requested = true});
    EXPECT_EQ(bytes.size(), 18u);
    const auto message = std::get<PrimaryKeepalive>(parse_server_message(bytes));
    EXPECT_EQ(message.wal_end, Lsn{77});
    EXPECT_EQ(message.sent_at, kTime);
    EXPECT_TRUE(message.reply_requested);
}

TEST(ReplicationMessage, StatusUpdateIsReadAsItWasWritten) {
    const std::string bytes = to_bytes(StandbyStatusUpdate{
        .written = {3}, .flushed = {2}, .applied = {1}, .sent_at = kTime, .reply_requested = false});
    EXPECT_EQ(bytes.size(), 34u);
    const auto message = std::get<StandbyStatusUpdate>(parse_standby_message(bytes));
    EXPECT_EQ(message.written, Lsn{3});
    EXPECT_EQ(message.flushed, Lsn{2});
    EXPECT_EQ(message.applied, Lsn{1});
    EXPECT_EQ(message.sent_at, kTime);
    EXPECT_FALSE(message.reply_requested);
}

TEST(ReplicationMessage, HotStandbyFeedbackIsReadAsItWasWritten) {
    const std::string bytes = to_bytes(HotStandbyFeedback{
        .sent_at = kTime, .xmin = 700, .xmin_epoch = 1, .catalog_xmin = 699, .catalog_xmin_epoch = 2});
    EXPECT_EQ(bytes.size(), 25u);
    const auto message = std::get<HotStandbyFeedback>(parse_standby_message(bytes));
    EXPECT_EQ(message.sent_at, kTime);
    EXPECT_EQ(message.xmin, 700u);
    EXPECT_EQ(message.xmin_epoch, 1u);
    EXPECT_EQ(message.catalog_xmin, 699u);
    EXPECT_EQ(message.catalog_xmin_epoch, 2u);
}

TEST(ReplicationMessage, EveryWrongLengthIsRefused) {
    const std::string data = to_bytes(XLogData{});
    const std::string keepalive = to_bytes(PrimaryKeepalive{});
    const std::string status = to_bytes(StandbyStatusUpdate{});
    const std::string feedback = to_bytes(HotStandbyFeedback{});
    for (const std::string& whole : {data, keepalive})
        for (std::size_t size = 0; size < whole.size(); ++size)
            EXPECT_THROW(parse_server_message(whole.substr(0, size)), ProtocolError) << whole[0] << size;
    for (const std::string& whole : {status, feedback})
        for (std::size_t size = 0; size < whole.size(); ++size)
            EXPECT_THROW(parse_standby_message(whole.substr(0, size)), ProtocolError) << whole[0] << size;
    EXPECT_THROW(parse_server_message(keepalive + "x"), ProtocolError);
    EXPECT_THROW(parse_standby_message(status + "x"), ProtocolError);
    EXPECT_THROW(parse_standby_message(feedback + "x"), ProtocolError);
}

TEST(ReplicationMessage, DirectionsAreKeptApart) {
    EXPECT_THROW(parse_server_message(to_bytes(StandbyStatusUpdate{})), ProtocolError);
    EXPECT_THROW(parse_standby_message(to_bytes(XLogData{})), ProtocolError);
}

TEST(ReplicationMessage, AnyTimeIsTaken) {
    for (const std::int64_t time :
         {std::numeric_limits<std::int64_t>::min(), std::numeric_limits<std::int64_t>::max()})
        EXPECT_EQ(to_postgres_time(from_postgres_time(time)), time);
}

}  // namespace pgcascade::protocol
