#pragma once

#include <memory>
#include <string_view>

#include <pgcascade/change.hpp>

namespace pgcascade::pgoutput {

// Turns pgoutput messages, protocol version 1 (B C O R Y I U D T M), into changes. Keeps the relations and
// types that the session announced. Allocates nothing per row once a relation is known. Source: PostgreSQL,
// replication/logical/proto.c; manual, "Logical Replication Message Formats".
//
// Owned and called by one thread. A new session (reconnect) needs start_session(): relations are announced
// anew.
class Decoder {
  public:
    Decoder();
    ~Decoder();
    Decoder(Decoder&&) noexcept;
    Decoder& operator=(Decoder&&) noexcept;

    // Decodes one message that stood at `wal_start`. Null for messages that only tell (Relation, Type,
    // Origin). The change and its views live until the next call and need `message` to live as long. Throws
    // ProtocolError for bytes that are cut short, too long, or break the grammar (a row outside a
    // transaction, an unknown relation or message type, …).
    const Change* decode(std::string_view message, Lsn wal_start);

    void start_session();

    bool in_transaction() const;

  private:
    class Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace pgcascade::pgoutput
