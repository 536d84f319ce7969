#include "relay/feed_filter.hpp"

#include <utility>

#include "relay/feed_message.hpp"

namespace pgcascade::relay {

using Kind = FeedMessage::Kind;

void FeedFilter::take(const FrameReader::Frame& frame, std::string& out) {
    const Kind kind = frame.payload.empty() ? Kind::kChange : read_feed_message(frame.payload).kind;
    const bool is_message = kind == Kind::kMessage || kind == Kind::kLoneMessage;
    if (kind == Kind::kRelation || kind == Kind::kType) {
        out += frame.bytes;
    } else if (kind == Kind::kBegin) {
        begin_ = frame.bytes;
        has_left_out_ = false;
    } else if (kind == Kind::kOrigin && selection_.only_local) {
        begin_.clear();
        is_skipping_ = true;
    } else if (is_skipping_) {
        is_skipping_ = kind != Kind::kCommit;
    } else if (is_message && selection_.no_messages) {
        has_left_out_ = true;
    } else if (kind == Kind::kCommit && !begin_.empty() && has_left_out_) {
        begin_.clear();
    } else {
        out += std::exchange(begin_, {});
        out += frame.bytes;
    }
}

}  // namespace pgcascade::relay
