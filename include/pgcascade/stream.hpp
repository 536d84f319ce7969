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
// status_interval, so a slow consumer is not taken for dead (wal_sender_timeout).
//
// Memory. What libpq holds of one message, plus the relations seen: it does not grow with the transaction.

namespace pgcascade {

enum class Confirm : std::uint8_t {
    kAutomatic,  // asking for the next change after a commit confirms that transaction
    kManual,     // only confirm() does
};

struct StreamOptions {
    std::string conninfo;  // libpq's keywords or URI; the database is the one whose changes are wanted
    std::string slot;
    std::vector<std::string> publications;

    bool create_slot = false;  // create the slot where it does not exist yet
    bool temporary_slot =
        false;  // the slot lives as long as this connection; implies create_slot, no reconnect
    std::string primary_conninfo;  // for create_slot on a standby; empty: found through pg_stat_wal_receiver

    Lsn from;   // 0/0: where the slot stands. Earlier than that is not possible
    Lsn until;  // 0/0: for ever. Else: ends once every transaction committed before this is delivered
    bool messages = false;  // deliver pg_logical_emit_message() too

    Confirm confirm = Confirm::kAutomatic;
    std::chrono::milliseconds status_interval{10'000};
    bool reconnect = true;  // when the connection breaks; errors that can't heal are thrown at once
    std::chrono::milliseconds max_backoff{10'000};
    int stop_fd = -1;  // readable: the reads end as if the stream had ended

    // Told what a person watching would want to know: "connection lost …, trying again in 2 s". Never called
    // concurrently. Null: silent.
    std::function<void(const std::string& text)> on_notice;
};

class ChangeStream {
  public:
    // Connects, checks the server (version, wal_level, slot, publications) and starts streaming.
    // Throws ConfigError for options that make no sense, ConnectionError, LoginError, ServerError.
    explicit ChangeStream(StreamOptions options);
    ~ChangeStream();  // sends the confirmed position; does not wait for the server
    ChangeStream(ChangeStream&&) noexcept;
    ChangeStream& operator=(ChangeStream&&) noexcept;

    // The next change; blocks until there is one. Null at the end: `until` was reached or stop_fd is
    // readable. The change is valid until the next call.
    const Change* read();

    // As read(), but null at once where nothing has arrived yet; at_end() tells the two apart. For a poll(2)
    // loop over fileno(): call until null after each time it is readable.
    const Change* try_read();
    bool at_end() const;

    // The socket to the server; changes when the stream reconnects.
    int fileno() const;

    // Tells the server that the transaction of this commit, and all before it, need never be sent again.
    // Takes a kCommit change (throws Error for another one). Cheap: the server is told with the next
    // feedback, at the latest after status_interval.
    void confirm(const Change& commit);

    // Sends feedback now.
    void flush_confirmed();

    Lsn confirmed() const;  // what the server was last told
    Lsn received() const;   // how far the server has sent

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
