#include "demo/stream_reader.hpp"

#include <cerrno>

#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>

#include <pgcascade/error.hpp>

#include "base/clock.hpp"
#include "base/stop_signal.hpp"

namespace pgcascade::demo {

namespace {

constexpr std::size_t kSampleLines = 40;
constexpr std::size_t kSampleLineBytes = 500;  // a description of a product is no pleasure to read
constexpr int kIdleLookMs = 50;

FileDescriptor make_event() {
    FileDescriptor event{::eventfd(0, EFD_CLOEXEC)};
    if (!event) throw SystemError("can't make an eventfd", errno);
    return event;
}

StreamOptions with_stop(StreamOptions options, int stop_fd) {
    options.stop_fd = stop_fd;
    return options;
}

}  // namespace

StreamReader::StreamReader(StreamOptions options)
    : stop_(make_event()),
      stream_(with_stop(std::move(options), stop_.get())),
      formatter_(make_formatter({.format = Format::kJson})) {
    thread_ = std::thread{[this] { read_all(); }};
}

StreamReader::~StreamReader() {
    end();
}

void StreamReader::end() {
    if (!thread_.joinable()) return;
    ::eventfd_write(stop_.get(), 1);
    thread_.join();
}

void StreamReader::read_all() {
    try {
        while (!stream_.at_end()) {
            const Lsn received = stream_.received();
            if (const Change* change = stream_.try_read()) {
                take(*change);
                continue;
            }
            // What was received before there was nothing more to read has been read.
            read_up_to_ = received.value;
            wait_for(stream_.fileno(), POLLIN, kIdleLookMs, stop_.get());
        }
    } catch (const Stopped&) {
    } catch (...) {
        failure_ = std::current_exception();
    }
    is_reading_ = false;
}

void StreamReader::take(const Change& change) {
    check_.take(change);
    row_changes_ = check_.row_changes();
    if (change.operation == Operation::kBegin) is_first_of_transaction_ = true;
    if (!change.is_row_change() || !is_first_of_transaction_) return;
    is_first_of_transaction_ = false;
    std::string line;
    formatter_->write(change, line);
    if (line.size() > kSampleLineBytes) return;
    const std::lock_guard lock{sample_mutex_};
    sample_.push_back(std::move(line));
    if (sample_.size() > kSampleLines) sample_.pop_front();
}

std::vector<std::string> StreamReader::take_sample() {
    const std::lock_guard lock{sample_mutex_};
    std::vector<std::string> lines{sample_.begin(), sample_.end()};
    sample_.clear();
    return lines;
}

void StreamReader::finish(Lsn position, std::chrono::milliseconds timeout, int stop_fd) {
    const SteadyTime deadline = steady_now() + timeout;
    while (is_reading_ && Lsn{read_up_to_} < position && steady_now() < deadline)
        wait_for(-1, 0, kIdleLookMs, stop_fd);
    end();
    if (failure_) std::rethrow_exception(failure_);
    if (Lsn{read_up_to_} < position)
        throw Error(fmt::format("the stream has come to {} only, within {} ms; the primary is at {}",
                                Lsn{read_up_to_}.to_string(), timeout.count(), position.to_string()));
    stream_.flush_confirmed();
}

}  // namespace pgcascade::demo
