#include "protocol/replication_message.hpp"

#include <fmt/format.h>

#include <pgcascade/error.hpp>

#include "base/bytes.hpp"
#include "base/clock.hpp"

namespace pgcascade::protocol {

static constexpr const char* kHint =
    "the peer does not speak PostgreSQL's streaming replication protocol, or the connection is damaged: "
    "reconnect";

static void check_length(const ByteReader& reader, char type, std::size_t length) {
    if (reader.failed() || !reader.empty())
        throw ProtocolError(
            fmt::format("replication message '{}' has the wrong length, {} bytes", type, length), kHint);
}

[[noreturn]] static void throw_unknown_type(std::string_view bytes) {
    if (bytes.empty()) throw ProtocolError("replication message is empty", kHint);
    throw ProtocolError(
        fmt::format("replication message of unknown type 0x{:02x}", static_cast<unsigned char>(bytes[0])),
        kHint);
}

static Timestamp read_time(ByteReader& reader) {
    return from_postgres_time(reader.i64());
}

ServerMessage parse_server_message(std::string_view bytes) {
    ByteReader reader(bytes);
    const char type = static_cast<char>(reader.u8());
    if (type == 'w') {
        XLogData message{.wal_start = {reader.u64()},
                         .wal_end = {reader.u64()},
                         .sent_at = read_time(reader),
                         .payload = {}};
        message.payload = reader.bytes(reader.rest().size());
        check_length(reader, type, bytes.size());
        return message;
    }
    if (type == 'k') {
        const PrimaryKeepalive message{
            .wal_end = {reader.u64()}, .sent_at = read_time(reader), .reply_requested = reader.u8() != 0};
        check_length(reader, type, bytes.size());
        return message;
    }
    throw_unknown_type(bytes);
}

StandbyMessage parse_standby_message(std::string_view bytes) {
    ByteReader reader(bytes);
    const char type = static_cast<char>(reader.u8());
    if (type == 'r') {
        const StandbyStatusUpdate message{.written = {reader.u64()},
                                          .flushed = {reader.u64()},
                                          .applied = {reader.u64()},
                                          .sent_at = read_time(reader),
                                          .reply_requested = reader.u8() != 0};
        check_length(reader, type, bytes.size());
        return message;
    }
    if (type == 'h') {
        const HotStandbyFeedback message{.sent_at = read_time(reader),
                                         .xmin = reader.u32(),
                                         .xmin_epoch = reader.u32(),
                                         .catalog_xmin = reader.u32(),
                                         .catalog_xmin_epoch = reader.u32()};
        check_length(reader, type, bytes.size());
        return message;
    }
    throw_unknown_type(bytes);
}

std::string to_bytes(const XLogData& message) {
    ByteWriter writer;
    writer.u8('w').u64(message.wal_start.value).u64(message.wal_end.value);
    writer.i64(to_postgres_time(message.sent_at)).bytes(message.payload);
    return writer.take();
}

std::string to_bytes(const PrimaryKeepalive& message) {
    ByteWriter writer;
    writer.u8('k').u64(message.wal_end.value).i64(to_postgres_time(message.sent_at));
    writer.u8(message.reply_requested ? 1 : 0);
    return writer.take();
}

std::string to_bytes(const StandbyStatusUpdate& message) {
    ByteWriter writer;
    writer.u8('r').u64(message.written.value).u64(message.flushed.value).u64(message.applied.value);
    writer.i64(to_postgres_time(message.sent_at)).u8(message.reply_requested ? 1 : 0);
    return writer.take();
}

std::string to_bytes(const HotStandbyFeedback& message) {
    ByteWriter writer;
    writer.u8('h').i64(to_postgres_time(message.sent_at));
    writer.u32(message.xmin).u32(message.xmin_epoch);
    writer.u32(message.catalog_xmin).u32(message.catalog_xmin_epoch);
    return writer.take();
}

}  // namespace pgcascade::protocol
