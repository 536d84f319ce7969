#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>

#include "postgres/clone_batch.hpp"
#include "postgres/target_directory.hpp"

namespace pgcascade::postgres {

// Writes batches into one target, on a thread of its own, so that the targets' disks work side by side and
// while the next bytes come over the network. The target belongs to that thread until finish() returns.
class CloneWriter {
  public:
    explicit CloneWriter(TargetDirectory& target);

    // Without finish(): what is waiting is dropped.
    ~CloneWriter();
    CloneWriter(const CloneWriter&) = delete;
    CloneWriter& operator=(const CloneWriter&) = delete;

    // Returns at once. After a failure, batches are taken and dropped.
    void push(std::shared_ptr<const CloneBatch> batch);

    bool has_failed() const { return has_failed_; }

    // Returns when all that was pushed is written and synced, or has failed. Throws Stopped, only.
    void finish(int stop_fd);

    // Why it failed; null where it did not. After finish(), or has_failed().
    std::exception_ptr failure() const { return failure_; }

  private:
    void run();
    void fail();
    void write_all_batches();
    std::shared_ptr<const CloneBatch> next_batch();
    void carry_out(const CloneBatch& batch, const CloneStep& step);

    TargetDirectory& target_;
    FileDescriptor ended_;  // an eventfd: the thread is done

    std::mutex mutex_;  // for the queue, filled by the caller's thread and emptied by ours
    std::condition_variable changed_;
    std::deque<std::shared_ptr<const CloneBatch>> queue_;  // no longer than the pool is large; null: the end

    std::atomic<bool> abandoned_ = false;
    std::exception_ptr failure_;  // written before has_failed_
    std::atomic<bool> has_failed_ = false;
    std::thread thread_;  // last: it uses the others
};

}  // namespace pgcascade::postgres
