#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include <pgcascade/change.hpp>
#include <pgcascade/error.hpp>
#include <pgcascade/lsn.hpp>

// The decoded changes of a logical replication slot (plugin pgoutput) on a primary or a standby, in commit
// order.
//
//     pgcascade::ChangeStream stream{{.conninfo = "host=replica dbname=shop", .slot = "orders",
//                                     .publications = {"shop"}}};
//     for (const pgcascade::Change& change : stream) process_message(change);
//
// Delivery. The slot moves only to the end of transactions that the consumer has taken whole. A process that
// is killed and started again on the same slot gets every committed transaction; the tail that was not yet
// confirmed comes again, with the same (commit_lsn, ordinal). Within one ChangeStream nothing comes twice: it
// reconnects by itself when the server restarts, and drops what it has already handed out.
//
// Threads. One thread at a time reads and confirms. A thread of the stream's own sends feedback every
// status_interval, and more often where wal_sender_timeout asks for it, so a slow consumer is not taken for
// dead. While the consumer is blocked nothing is read: the server waits.
//
// Memory. What libpq holds of one message, plus the relations seen: it does not grow with the transaction. A
// message that memory can't hold is an Error.
//
// Errors. What can heal (a server that restarts, a network that is away) is waited for; everything else is
// thrown once with the reason and the hint, and again by each later read.

namespace pgcascade {

enum class Confirm : std::uint8_t {
    kAutomatic,  // asking for the next change after a commit confirms that transaction
    kManual,     // only confirm() does
};

struct StreamOptions {
    std::string conninfo = {};  // libpq's keywords or URI; the database is the one whose changes are wanted
    std::string slot = {};
    std::vector<std::string> publications = {};

    bool create_slot = false;     // create the slot where it does not exist yet
    bool temporary_slot = false;  // made for this connection and gone with it: no reconnect
    std::string primary_conninfo =
        {};  // for create_slot on a standby; empty: found through pg_stat_wal_receiver

    // 0/0: where the slot stands. Else transactions whose commit record starts before this are left out; a
    // position that the slot has moved past already is refused, because that WAL may be gone.
    Lsn from = {};
    // 0/0: for ever. Else the stream ends once every transaction whose commit record starts before this was
    // delivered.
    Lsn until = {};

    // Deliver pg_logical_emit_message() too. They count as ordinals, so keep it as it is for one slot.
    bool messages = false;

    Confirm confirm = Confirm::kAutomatic;
    std::chrono::milliseconds status_interval{10'000};  // of feedback; up to a day
    bool reconnect = true;  // when the connection breaks; errors that can't heal are thrown at once
    std::chrono::milliseconds max_backoff{10'000};  // between two tries to reconnect; up to a day
    int stop_fd = -1;                               // readable: the reads end as if the stream had ended

    // Told what a person watching would want to know: "connection lost …, trying again in 2 s", and what the
    // server warns of. Never called concurrently; must not call the stream, and should return soon: no
    // feedback goes out meanwhile. What it throws is dropped. Null: silent.
    std::function<void(const std::string& text)> on_notice = nullptr;
};

class ChangeStream {
  public:
    // Connects, checks the server (version, wal_level, publications, slot) and starts streaming. A slot that
    // another session still holds is waited for, a few seconds. Throws ConfigError for options that make no
    // sense, ConnectionError, LoginError, ServerError, and Stopped where stop_fd gets readable meanwhile.
    explicit ChangeStream(StreamOptions options);
    ~ChangeStream();                        // close(), for at most a second
    ChangeStream(ChangeStream&&) noexcept;  // what is moved from can only be destroyed or assigned to
    ChangeStream& operator=(ChangeStream&&) noexcept;

    // The next change; blocks until there is one. Null at the end: `until` was reached or stop_fd is
    // readable. The change is valid until the next call.
    const Change* read();

    // As read(), but null at once where nothing has arrived yet; at_end() tells the two apart. For a poll(2)
    // loop over fileno(): call until null after each time it is readable. Waits only while a lost connection
    // is being made again: for the login and the few questions that follow it, each at most 10 s.
    const Change* try_read();
    bool at_end() const;

    // Readable when try_read() is worth calling; under load up to 0.4 ms later than that, so that messages
    // gather. The same descriptor as long as the stream lives; only to be polled.
    int fileno() const;

    // Tells the server that this transaction, and all before it, need never be sent again. Takes a kCommit
    // change, or a message that is not transactional; throws Error for another one. Cheap: the server is told
    // with the next feedback, at the latest after status_interval.
    void confirm(const Change& commit);

    // The same for the end_lsn of a commit that was kept. Throws Error for a position beyond what was handed
    // out.
    void confirm(Lsn end_lsn);

    // Sends feedback now; while the connection is lost, as soon as it is back.
    void flush_confirmed();

    // By any thread.
    Lsn confirmed() const;  // what the server was last told
    Lsn received() const;   // how far the server has sent

    // Ends the stream in good order: tells the server what is confirmed, and waits until it has let go of the
    // slot. False where it did not within `timeout`: then the last of what was confirmed may come again. From
    // then on reads give null; may be called again.
    bool close(std::chrono::milliseconds timeout = std::chrono::seconds{5});

    class Iterator;
    Iterator begin();
    std::default_sentinel_t end() const { return {}; }

  private:
    class Impl;
    std::unique_ptr<Impl> impl_;
};

class ChangeStream::Iterator {
  public:
    using value_type = Change;
    using difference_type = std::ptrdiff_t;
    using iterator_concept = std::input_iterator_tag;

    explicit Iterator(ChangeStream& stream) : stream_(&stream), change_(stream.read()) {}

    const Change& operator*() const { return *change_; }
    const Change* operator->() const { return change_; }
    Iterator& operator++() {
        change_ = stream_->read();
        return *this;
    }
    void operator++(int) { ++*this; }
    bool operator==(std::default_sentinel_t) const { return change_ == nullptr; }

  private:
    ChangeStream* stream_;
    const Change* change_;
};

inline ChangeStream::Iterator ChangeStream::begin() {
    return Iterator{*this};
}

}  // namespace pgcascade
