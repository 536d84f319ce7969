#include "relay/feed_writer.hpp"

#include <utility>
#include <variant>

#include <pgcascade/error.hpp>

#include "protocol/backend_message.hpp"
#include "relay/feed_message.hpp"

namespace pgcascade::relay {

using log::FeedEntry;
using Kind = FeedMessage::Kind;

void Definitions::clear() {
    types_.clear();
    relations_.clear();
}

std::string Definitions::frames() const {
    std::string frames;
    for (const auto& [oid, frame] : types_) frames += frame;
    for (const auto& [oid, frame] : relations_) frames += frame;
    return frames;
}

// The same string for every frame: no memory is asked for per row.
const std::string& FeedWriter::append_frame(std::string_view bytes) {
    frame_.clear();
    protocol::append_copy_data_header(frame_, bytes.size());
    frame_ += bytes;
    log_.append(frame_);
    return frame_;
}

void FeedWriter::start_session() {
    log_.abandon_entry();
    definitions_.clear();
    announced_.clear();
    in_transaction_ = false;
    flags_ = 0;
}

[[noreturn]] static void throw_out_of_place(const char* what) {
    throw ProtocolError(std::string{"the upstream sent "} + what,
                        "its plugin is not PostgreSQL's pgoutput, or the connection is damaged");
}

void FeedWriter::take(const protocol::XLogData& xlog, std::string_view bytes) {
    const FeedMessage message = read_feed_message(xlog.payload);
    if (message.kind == Kind::kBegin && in_transaction_) throw_out_of_place("a Begin within a transaction");
    const bool is_definition = message.kind == Kind::kRelation || message.kind == Kind::kType;
    if (is_definition && !in_transaction_) {
        announced_.emplace_back(bytes);
        return;
    }
    const bool needs_transaction = message.kind != Kind::kBegin && message.kind != Kind::kLoneMessage;
    if (needs_transaction && !in_transaction_) throw_out_of_place("a change outside of a transaction");
    if (message.kind == Kind::kCommit && message.commit_lsn != commit_lsn_)
        throw_out_of_place("the Commit of another transaction");

    const std::string& frame = append_frame(bytes);
    switch (message.kind) {
        case Kind::kBegin:
            in_transaction_ = true;
            commit_lsn_ = message.commit_lsn;
            flags_ = 0;
            take_announced(xlog);
            break;
        case Kind::kRelation:
            flags_ |= FeedEntry::kHasDefinitions;
            definitions_.set_relation(message.oid, frame);
            break;
        case Kind::kType:
            flags_ |= FeedEntry::kHasDefinitions;
            definitions_.set_type(message.oid, frame);
            break;
        case Kind::kCommit:
            in_transaction_ = false;
            log_.finish_entry(message.commit_lsn, message.end_lsn, flags_);
            break;
        case Kind::kLoneMessage:
            // The server sends it at once, but never into the middle of a transaction.
            if (in_transaction_) throw_out_of_place("a message into the middle of a transaction");
            log_.finish_entry(message.commit_lsn, message.end_lsn, FeedEntry::kIsLoneMessage);
            break;
        default:
            break;
    }
}

// They follow the Begin, as those of a server would.
void FeedWriter::take_announced(const protocol::XLogData& begin) {
    for (const std::string& bytes : std::exchange(announced_, {})) {
        protocol::XLogData definition = begin;
        definition.payload = std::get<protocol::XLogData>(protocol::parse_server_message(bytes)).payload;
        take(definition, bytes);
    }
}

bool FeedWriter::take_position(Lsn position, Timestamp sent_at) {
    if (in_transaction_) return false;
    const auto& last = log_.last_gathered();
    if (last && position <= last->end_lsn) return false;
    append_frame(to_bytes(protocol::PrimaryKeepalive{.wal_end = position, .sent_at = sent_at}));
    log_.finish_entry(position, position, FeedEntry::kIsKeepalive);
    return true;
}

}  // namespace pgcascade::relay
