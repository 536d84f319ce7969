#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include <pgcascade/change.hpp>
#include <pgcascade/lsn.hpp>

// The messages inside CopyData while streaming replication runs, both ways.
// Source: PostgreSQL manual, "Streaming Replication Protocol"; replication/walsender.c, walreceiver.c.

namespace pgcascade::protocol {

// 'w' | Int64 wal_start | Int64 wal_end | Int64 sent_at (µs since 2000-01-01) | bytes
struct XLogData {
    Lsn wal_start;
    Lsn wal_end;
    Timestamp sent_at;
    std::string_view payload;  // a view into the message
};

// 'k' | Int64 wal_end | Int64 sent_at | Byte1 reply_requested
struct PrimaryKeepalive {
    Lsn wal_end;
    Timestamp sent_at;
    bool reply_requested = false;
};

using ServerMessage = std::variant<XLogData, PrimaryKeepalive>;

// Throws ProtocolError for anything else and for a message of the wrong length.
ServerMessage parse_server_message(std::string_view bytes);
std::string to_bytes(const XLogData& message);
std::string to_bytes(const PrimaryKeepalive& message);

// 'r' | Int64 written | Int64 flushed | Int64 applied | Int64 sent_at | Byte1 reply_requested
struct StandbyStatusUpdate {
    Lsn written = {};
    Lsn flushed = {};
    Lsn applied = {};
    Timestamp sent_at = {};
    bool reply_requested = false;
};

// 'h' | Int64 sent_at | Int32 xmin | Int32 epoch | Int32 catalog_xmin | Int32 epoch
struct HotStandbyFeedback {
    Timestamp sent_at;
    std::uint32_t xmin = 0;
    std::uint32_t xmin_epoch = 0;
    std::uint32_t catalog_xmin = 0;
    std::uint32_t catalog_xmin_epoch = 0;
};

using StandbyMessage = std::variant<StandbyStatusUpdate, HotStandbyFeedback>;

StandbyMessage parse_standby_message(std::string_view bytes);
std::string to_bytes(const StandbyStatusUpdate& message);
std::string to_bytes(const HotStandbyFeedback& message);

}  // namespace pgcascade::protocol
