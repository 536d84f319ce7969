#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <exception>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <pgcascade/format.hpp>
#include <pgcascade/stream.hpp>

#include "demo/stream_check.hpp"

namespace pgcascade::demo {

// Reads a change stream in a thread of its own, from its construction on: every change goes into the check,
// and the first of a transaction is kept as a line of JSON, where it is not too long, for whoever shows them.
class StreamReader {
  public:
    // Throws what ChangeStream does.
    explicit StreamReader(StreamOptions options);
    ~StreamReader();  // ends the thread
    StreamReader(const StreamReader&) = delete;
    StreamReader& operator=(const StreamReader&) = delete;

    std::uint64_t row_changes() const { return row_changes_; }

    // Of the last transactions, oldest first; taken out.
    std::vector<std::string> take_sample();

    // False once the thread has ended, which it does only where the stream fails or is stopped.
    bool is_reading() const { return is_reading_; }

    // Waits until everything that was committed before this position is read, and ends the thread. Throws
    // what the stream threw, Error where it does not get there within the time, Stopped.
    void finish(Lsn position, std::chrono::milliseconds timeout, int stop_fd);

    // After finish().
    const StreamCheck& check() const { return check_; }

  private:
    void read_all();
    void take(const Change& change);
    void end();

    std::atomic<bool> is_ending_ = false;
    ChangeStream stream_;
    std::unique_ptr<Formatter> formatter_;
    StreamCheck check_;
    bool is_first_of_transaction_ = false;

    std::atomic<std::uint64_t> row_changes_ = 0;
    std::atomic<std::uint64_t> read_up_to_ = 0;  // an Lsn
    std::atomic<bool> is_reading_ = true;
    std::mutex sample_mutex_;  // the reader adds lines, the one who shows them takes them
    std::deque<std::string> sample_;
    std::exception_ptr failure_;  // of the thread; looked at once it is joined
    std::thread thread_;
};

}  // namespace pgcascade::demo
