#pragma once

#include <cstdint>
#include <string_view>

#include <pgcascade/lsn.hpp>

namespace pgcascade::relay {

// One message of pgoutput, protocol version 1: as much of it as the relay has to understand.
// Source: PostgreSQL manual, "Logical Replication Message Formats"; replication/logical/proto.c.
struct FeedMessage {
    enum class Kind {
        kBegin,
        kCommit,
        kOrigin,
        kRelation,
        kType,
        kMessage,      // pg_logical_emit_message() within a transaction
        kLoneMessage,  // the same, outside of one
        kChange,
    };

    Kind kind = Kind::kChange;
    Lsn commit_lsn = {};  // kBegin, kCommit, kLoneMessage: what START_REPLICATION's position is held against
    Lsn end_lsn = {};     // kCommit, kLoneMessage: what a reader confirms who has taken it
    std::uint32_t oid = 0;  // kRelation, kType
};

// `payload` is that of an XLogData message. Throws ProtocolError for one that is cut short, or of no
// known type.
FeedMessage read_feed_message(std::string_view payload);

}  // namespace pgcascade::relay
