#include "stream/progress.hpp"

#include <algorithm>

#include <fmt/format.h>

#include <pgcascade/error.hpp>

namespace pgcascade {

namespace {

[[noreturn]] void throw_changed_history(Lsn commit_lsn, const std::string& what) {
    throw Error(
        fmt::format("after the reconnect the server no longer has the transaction that commits at {} as it "
                    "was: {}",
                    commit_lsn.to_string(), what),
        "the server has lost or rewritten part of its history (a restore, or a failover that lost WAL): "
        "compare the data with the consumer's, then start on a new slot");
}

}  // namespace

Progress::Progress(Lsn confirmed, Lsn start)
    : received_(confirmed),
      delivered_(std::max(confirmed, start)),
      taken_(delivered_),
      confirmed_(confirmed) {}

void Progress::start_session() {
    repeating_ = open_.has_value();
    repeated_ = 0;
}

void Progress::received(Lsn position) {
    received_ = std::max(received_, position);
}

bool Progress::admit(const Change& change) {
    switch (change.operation) {
        case Operation::kBegin:
            return admit_begin(change);
        case Operation::kCommit:
            return admit_commit(change);
        case Operation::kMessage:
            if (!change.transactional) return admit_message(change.lsn);
            [[fallthrough]];
        default:
            return admit_in_transaction(change.ordinal);
    }
}

bool Progress::admit_begin(const Change& change) {
    if (!repeating_) {
        open_ = OpenTransaction{.commit_lsn = change.commit_lsn};
        return true;
    }
    if (change.commit_lsn != open_->commit_lsn)
        throw_changed_history(open_->commit_lsn,
                              fmt::format("the next one commits at {}", change.commit_lsn.to_string()));
    if (open_->ordinal == 0) repeating_ = false;
    return false;
}

bool Progress::admit_in_transaction(std::uint64_t ordinal) {
    if (repeating_) [[unlikely]] {
        repeated_ = ordinal;
        if (ordinal == open_->ordinal) repeating_ = false;
        return false;
    }
    open_->ordinal = ordinal;
    return true;
}

bool Progress::admit_commit(const Change& change) {
    if (repeating_)
        throw_changed_history(change.commit_lsn, fmt::format("it had at least {} changes and now has {}",
                                                             open_->ordinal, repeated_));
    open_.reset();
    delivered_ = change.end_lsn;
    received(change.end_lsn);
    return true;
}

bool Progress::admit_message(Lsn lsn) {
    if (lsn <= delivered_) return false;
    delivered_ = lsn;
    return true;
}

void Progress::keepalive(Lsn wal_end) {
    received(wal_end);
    if (open_) return;
    keepalive_ = wal_end;
    before_keepalive_ = delivered_;
    settle();
}

void Progress::confirm(Lsn end) {
    if (end > delivered_)
        throw Error(fmt::format("can't confirm {}: the last whole transaction that was handed out ends at {}",
                                end.to_string(), delivered_.to_string()),
                    "confirm() takes a commit that this stream has handed out");
    if (end <= taken_) return;
    taken_ = end;
    confirmed_ = std::max(confirmed_, end);
    settle();
}

// `start` may be a mistake, far in the future: it counts as taken, but only what was handed out confirms
// anything.
void Progress::settle() {
    if (taken_ >= before_keepalive_) confirmed_ = std::max(confirmed_, keepalive_);
}

}  // namespace pgcascade
