#include "relay/feed_message.hpp"

#include <fmt/format.h>

#include <pgcascade/error.hpp>

#include "base/bytes.hpp"

namespace pgcascade::relay {

using Kind = FeedMessage::Kind;

static constexpr const char* kReason =
    "the upstream's plugin is not PostgreSQL's pgoutput, or the connection is damaged";

static FeedMessage read_logical_message(ByteReader& reader) {
    constexpr std::uint8_t kIsTransactional = 1;
    const bool is_transactional = (reader.u8() & kIsTransactional) != 0;
    const Lsn lsn{reader.u64()};
    if (is_transactional) return {.kind = Kind::kMessage};
    // It is skipped by who starts behind the begin of its record; where that ends is not told.
    return {.kind = Kind::kLoneMessage, .commit_lsn = lsn, .end_lsn = {lsn.value + 1}};
}

FeedMessage read_feed_message(std::string_view payload) {
    ByteReader reader(payload);
    FeedMessage message;
    const char type = static_cast<char>(reader.u8());
    switch (type) {
        case 'B':
            message = {.kind = Kind::kBegin, .commit_lsn = {reader.u64()}};
            break;
        case 'C':
            reader.u8();  // flags, unused
            message.kind = Kind::kCommit;
            message.commit_lsn = {reader.u64()};
            message.end_lsn = {reader.u64()};
            break;
        case 'O':
            message.kind = Kind::kOrigin;
            break;
        case 'R':
            message = {.kind = Kind::kRelation, .oid = reader.u32()};
            break;
        case 'Y':
            message = {.kind = Kind::kType, .oid = reader.u32()};
            break;
        case 'M':
            message = read_logical_message(reader);
            break;
        case 'I':
        case 'U':
        case 'D':
        case 'T':
            break;
        default:  // of no use to any reader, and in the log it would stay
            if (!reader.failed())
                throw ProtocolError(fmt::format("a message of pgoutput is of an unknown type, 0x{:02X}",
                                                static_cast<unsigned char>(type)),
                                    kReason);
    }
    if (reader.failed())
        throw ProtocolError(fmt::format("a message of pgoutput is cut short ({} bytes)", payload.size()),
                            kReason);
    return message;
}

}  // namespace pgcascade::relay
