#include "postgres/clone_writer.hpp"

#include <cerrno>
#include <utility>

#include <poll.h>
#include <sys/eventfd.h>

#include <pgcascade/error.hpp>

#include "base/stop_signal.hpp"

namespace pgcascade::postgres {

CloneWriter::CloneWriter(TargetDirectory& target) : target_(target), ended_(::eventfd(0, EFD_CLOEXEC)) {
    if (!ended_) throw SystemError("can't make an eventfd", errno);
    thread_ = std::thread{[this] { run(); }};
}

CloneWriter::~CloneWriter() {
    if (!thread_.joinable()) return;
    abandoned_ = true;
    push(nullptr);
    thread_.join();
}

void CloneWriter::push(std::shared_ptr<const CloneBatch> batch) {
    {
        const std::lock_guard lock{mutex_};
        queue_.push_back(std::move(batch));
    }
    changed_.notify_one();
}

void CloneWriter::finish(int stop_fd) {
    push(nullptr);
    wait_for(ended_.get(), POLLIN, -1, stop_fd);
    thread_.join();
}

std::shared_ptr<const CloneBatch> CloneWriter::next_batch() {
    std::unique_lock lock{mutex_};
    changed_.wait(lock, [this] { return !queue_.empty(); });
    auto batch = std::move(queue_.front());
    queue_.pop_front();
    return batch;
}

void CloneWriter::run() {
    try {
        write_all_batches();
    } catch (...) {
        fail();
        // The other writers go on, so the batches have to come back to the pool.
        while (next_batch() != nullptr) {
        }
    }
    try {
        if (!abandoned_ && !has_failed_) target_.sync();
    } catch (...) {
        fail();
    }
    ::eventfd_write(ended_.get(), 1);
}

void CloneWriter::fail() {
    failure_ = std::current_exception();
    has_failed_ = true;
}

void CloneWriter::write_all_batches() {
    while (const auto batch = next_batch())
        for (const CloneStep& step : batch->steps()) {
            if (abandoned_) break;
            carry_out(*batch, step);
        }
}

void CloneWriter::carry_out(const CloneBatch& batch, const CloneStep& step) {
    switch (step.kind) {
        case CloneStep::Kind::kMakeDirectory:
            return target_.make_directory(step.root, step.path, step.mode);
        case CloneStep::Kind::kMakeTablespaceLink:
            return target_.make_tablespace_link(step.path, step.root);
        case CloneStep::Kind::kBeginFile:
            return target_.begin_file(step.root, step.path, step.mode, step.bytes);
        case CloneStep::Kind::kWrite:
            return target_.write(batch.bytes(step));
        case CloneStep::Kind::kEndFile:
            return target_.end_file();
    }
}

}  // namespace pgcascade::postgres
