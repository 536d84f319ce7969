#include "demo/stream_reader.hpp"

#include <fmt/format.h>
#include <poll.h>

#include <pgcascade/error.hpp>

#include "base/clock.hpp"
#include "base/stop_signal.hpp"

namespace pgcascade::demo {

namespace {

constexpr std::size_t kSampleLines = 40;
constexpr std::size_t kSampleLineBytes = 500;  // a description of a product is no pleasure to read
constexpr int kIdleLookMs = 50;

}  // namespace

StreamReader::StreamReader(StreamOptions options)
    : stream_(std::move(options)), formatter_(make_formatter({.format = Format::kJson})) {
    thread_ = std::thread{[this] { read_all(); }};
}

StreamReader::~StreamReader() {
    end();
}

void StreamReader::end() {
    if (!thread_.joinable()) return;
    is_ending_ = true;
    thread_.join();
}

void StreamReader::read_all() {
    try {
        while (!stream_.at_end() && !is_ending_) {
            const Lsn received = stream_.received();
            if (const Change* change = stream_.try_read()) {
                take(*change);
                continue;
            }
            // What was received before there was nothing more to read has been read.
            read_up_to_ = received.value;
            wait_for(stream_.fileno(), POLLIN, kIdleLookMs, -1);
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
    wait_for(-1, 0, 0, stop_fd);  // the stream may have been the first to see the stop
    if (Lsn{read_up_to_} < position)
        throw Error(fmt::format("the stream has come to {} only, within {} ms; the primary is at {}",
                                Lsn{read_up_to_}.to_string(), timeout.count(), position.to_string()));
    stream_.flush_confirmed();
}

}  // namespace pgcascade::demo
