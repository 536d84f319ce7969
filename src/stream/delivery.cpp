#include "stream/delivery.hpp"

#include <algorithm>
#include <cerrno>
#include <new>
#include <vector>

#include <fmt/format.h>
#include <poll.h>

#include "base/clock.hpp"

namespace pgcascade {

using std::chrono::milliseconds;

namespace {

class Delivery {
  public:
    Delivery(ChangeStream& stream, Formatter& formatter, Output& output, const DeliveryOptions& options)
        : stream_(stream),
          formatter_(formatter),
          output_(output),
          options_(options),
          synced_at_(steady_now()) {}

    void run();

  private:
    // The end of a transaction, in the output.
    struct Mark {
        std::uint64_t bytes;
        Lsn end_lsn;
    };

    const Change* next();
    void take(const Change& change);
    void format(const Change& change);
    void write_out();
    void finish();
    void confirm();
    bool is_sync_due() const { return steady_now() >= synced_at_ + options_.sync_interval; }
    void wait() const;

    ChangeStream& stream_;
    Formatter& formatter_;
    Output& output_;
    const DeliveryOptions& options_;
    std::vector<Mark> marks_;  // of what is not confirmed yet, oldest first
    SteadyTime synced_at_;
};

void Delivery::run() {
    for (;;) {
        if (const Change* change = next()) {
            take(*change);
            continue;
        }
        if (stream_.at_end()) return finish();
        write_out();
        if (is_sync_due()) confirm();
        wait();
    }
}

// What is in hand is good, whatever happened to the stream.
const Change* Delivery::next() {
    try {
        return stream_.try_read();
    } catch (const Error&) {
        finish();
        throw;
    }
}

void Delivery::take(const Change& change) {
    format(change);
    if (change.operation == Operation::kCommit)
        marks_.push_back({output_.appended(), change.end_lsn});
    else if (change.operation == Operation::kMessage && !change.transactional)
        marks_.push_back({output_.appended(), change.lsn});
    if (!output_.is_full()) return;
    write_out();
    if (is_sync_due()) confirm();
}

void Delivery::format(const Change& change) {
    const std::size_t before = output_.buffer().size();
    try {
        formatter_.write(change, output_.buffer());
    } catch (const std::bad_alloc&) {
        output_.buffer().resize(before);
        finish();
        throw Error(
            fmt::format("change {} of the transaction that commits at {} is too large to be printed in the "
                        "memory of this process",
                        change.ordinal, change.commit_lsn.to_string()),
            "give this process more memory (ulimit -v, MemoryMax), or leave the column with the huge value "
            "out of the publication");
    } catch (const Error&) {
        output_.buffer().resize(before);
        finish();
        throw;
    }
}

void Delivery::write_out() {
    try {
        output_.write();
    } catch (const Error&) {
        confirm();
        throw;
    }
    // All marks are out now: the last one says it all, however long the next fsync takes.
    if (!marks_.empty()) marks_.erase(marks_.begin(), std::prev(marks_.end()));
    if (!output_.needs_sync()) confirm();
}

void Delivery::finish() {
    write_out();
    confirm();
}

void Delivery::confirm() {
    if (output_.needs_sync()) {
        output_.sync();
        synced_at_ = steady_now();
    }
    const auto out = [&](const Mark& mark) { return mark.bytes <= output_.written(); };
    const auto first_left = std::find_if_not(marks_.begin(), marks_.end(), out);
    if (first_left == marks_.begin()) return;
    stream_.confirm(std::prev(first_left)->end_lsn);
    marks_.erase(marks_.begin(), first_left);
}

// Until there is something to read, to fsync, a stop, or the reader of the output has gone away.
void Delivery::wait() const {
    int timeout_ms = -1;
    if (output_.needs_sync()) {
        const auto left = synced_at_ + options_.sync_interval - steady_now();
        timeout_ms =
            static_cast<int>(std::max<milliseconds::rep>(0, std::chrono::ceil<milliseconds>(left).count()));
    }
    pollfd poll_fds[3] = {{stream_.fileno(), POLLIN, 0}, {options_.stop_fd, POLLIN, 0}, {output_.fd(), 0, 0}};
    if (::poll(poll_fds, 3, timeout_ms) < 0 && errno != EINTR) throw SystemError("poll failed", errno);
    if ((poll_fds[2].revents & (POLLERR | POLLHUP)) != 0) output_.throw_reader_gone();
}

}  // namespace

void deliver(ChangeStream& stream, Formatter& formatter, Output& output, const DeliveryOptions& options) {
    Delivery{stream, formatter, output, options}.run();
}

}  // namespace pgcascade
