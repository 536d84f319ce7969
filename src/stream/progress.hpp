#pragma once

#include <cstdint>
#include <optional>

#include <pgcascade/change.hpp>
#include <pgcascade/lsn.hpp>

// What the server has sent, what was handed out, and what of it the consumer has taken. From these follow the
// position that may be confirmed, where to go on after a reconnect, and what to drop there because it was
// handed out before. Pure: no clock, no connection.
//
// Always: confirmed <= delivered, or everything that was delivered is confirmed.
//
// Source of the rules: a transaction is skipped by the server iff its commit record *starts* before the
// confirmed position (snapbuild.c, SnapBuildXactNeedsSkip), so the *end* of a commit record confirms that
// transaction and keeps the next. A keepalive tells how far the server has read and sent (walsender.c,
// sentPtr).

namespace pgcascade {

class Progress {
  public:
    // A session that starts at `start`, on a slot that stands at `confirmed`. No position may be confirmed
    // that lies behind that of the slot: some minor versions would move it back.
    Progress(Lsn confirmed, Lsn start);

    // A session was made anew with START_REPLICATION at resume_at(). What comes first may be a transaction
    // that was half handed out: admit() drops what of it the consumer has.
    Lsn resume_at() const { return delivered_ > confirmed_ ? delivered_ : confirmed_; }
    void start_session();

    // Any message: the server has sent everything up to here.
    void received(Lsn position);

    // Call with every change that was decoded, in order. True: it is new, hand it out. False: it was handed
    // out by a session before. Throws Error where the half-delivered transaction does not come back as it
    // was.
    bool admit(const Change& change);

    // The server has read its WAL up to here, and all that concerns this stream has been sent.
    void keepalive(Lsn wal_end);

    // The consumer is done with everything up to this end of a commit, or this message that is not
    // transactional. Throws Error for a position that was never handed out.
    void confirm(Lsn end);
    void confirm_delivered() { confirm(delivered_); }

    bool in_transaction() const { return open_.has_value(); }
    bool all_confirmed() const { return !open_ && delivered_ <= taken_; }

    Lsn received() const { return received_; }
    Lsn confirmed() const { return confirmed_; }

  private:
    struct OpenTransaction {
        Lsn commit_lsn;
        std::uint64_t ordinal = 0;  // of the last change that was handed out
    };

    bool admit_begin(const Change& change);
    bool admit_commit(const Change& change);
    bool admit_in_transaction(std::uint64_t ordinal);
    bool admit_message(Lsn lsn);
    void settle();

    Lsn received_;
    Lsn delivered_;  // end of the last whole transaction or lone message that was handed out
    Lsn taken_;      // the same, of those that the consumer is done with
    Lsn confirmed_;  // at least taken_; beyond it where the server had nothing for us

    // The newest keepalive that came between two transactions, and delivered_ at that time: once that much is
    // taken, the keepalive's position is confirmed too.
    Lsn keepalive_;
    Lsn before_keepalive_;

    std::optional<OpenTransaction> open_;
    bool repeating_ = false;  // the open transaction comes again, from its start
    std::uint64_t repeated_ = 0;
};

}  // namespace pgcascade
