#pragma once

#include <string>
#include <string_view>

#include "relay/frame_reader.hpp"

namespace pgcascade::relay {

// What one session leaves out of a feed.
struct FeedSelection {
    bool only_local = false;   // the transactions that the upstream itself has received from elsewhere
    bool no_messages = false;  // what pg_logical_emit_message() wrote

    bool is_all() const { return !only_local && !no_messages; }
};

// Leaves that out, frame by frame, as pgoutput would: of a transaction of which nothing is left nothing is
// sent. Relations and types are announced once, whatever the transaction: they are never left out. Pure.
class FeedFilter {
  public:
    explicit FeedFilter(FeedSelection selection) : selection_(selection) {}

    // Appends what the session gets now. Throws ProtocolError.
    void take(const FrameReader::Frame& frame, std::string& out);

  private:
    const FeedSelection selection_;
    std::string begin_;          // of a transaction of which nothing was sent yet
    bool has_left_out_ = false;  // something of it
    bool is_skipping_ = false;   // all of it
};

}  // namespace pgcascade::relay
