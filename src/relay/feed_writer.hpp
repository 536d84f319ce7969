#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "log/feed_log.hpp"
#include "protocol/replication_message.hpp"

namespace pgcascade::relay {

// The relations and types that the upstream has announced in its present session: whoever starts to read now
// needs them, for the upstream does not say them twice.
class Definitions {
  public:
    void set_relation(std::uint32_t oid, std::string frame) { relations_[oid] = std::move(frame); }
    void set_type(std::uint32_t oid, std::string frame) { types_[oid] = std::move(frame); }
    void clear();

    std::string frames() const;  // types first: relations refer to them

  private:
    std::map<std::uint32_t, std::string> types_;
    std::map<std::uint32_t, std::string> relations_;
};

// Turns what the upstream sends into the entries of a feed's log. One thread.
class FeedWriter {
  public:
    FeedWriter(log::FeedLog& log, Definitions& definitions) : log_(log), definitions_(definitions) {}

    // The upstream begins a new session, and sends what was under way from its start again.
    void start_session();

    // Takes one CopyData message; nothing is readable before log.flush(). Throws ProtocolError.
    void take(const protocol::XLogData& message, std::string_view bytes);

    // All that concerns the feed up to `position` was taken. Stands in the log then, so that a relay that is
    // started anew knows it, and readers of an idle feed get on. False within a transaction, and where the
    // log says as much already.
    bool take_position(Lsn position, Timestamp sent_at);

    bool in_transaction() const { return in_transaction_; }

  private:
    const std::string& append_frame(std::string_view bytes);
    void take_announced(const protocol::XLogData& begin);

    log::FeedLog& log_;
    Definitions& definitions_;
    bool in_transaction_ = false;
    Lsn commit_lsn_;           // of the one under way, as its Begin says
    std::uint32_t flags_ = 0;  // of the entry under way
    // Definitions that came before a Begin: a relay sends those that are in force where a session begins.
    std::vector<std::string> announced_;
    std::string frame_;
};

}  // namespace pgcascade::relay
