#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include <sys/types.h>

#include "base/file.hpp"

// A stretch of a base backup on its way from the connection to the targets' writers: what to do, in order,
// and the bytes to do it with.

namespace pgcascade::postgres {

struct CloneStep {
    enum class Kind { kMakeDirectory, kMakeTablespaceLink, kBeginFile, kWrite, kEndFile };
    Kind kind;
    std::size_t root = 0;     // TargetDirectory::Root; kMakeTablespaceLink: index of the tablespace
    std::string path = {};    // kMakeDirectory, kMakeTablespaceLink, kBeginFile
    mode_t mode = 0;          // kMakeDirectory, kBeginFile
    std::uint64_t bytes = 0;  // kBeginFile: the file's size; kWrite: how many of the batch's
    std::size_t offset = 0;   // kWrite: in the batch's bytes
};

class CloneBatch {
  public:
    static constexpr std::size_t kBytes = 1024 * 1024;
    static constexpr std::size_t kSteps = 1024;

    CloneBatch();

    bool is_full() const { return used_ == kBytes || steps_.size() >= kSteps; }
    void add(CloneStep step) { steps_.push_back(std::move(step)); }

    // Copies as much as there is room for, to be written to the open file, and returns how much that was.
    std::size_t add_bytes(std::string_view bytes);

    // A file's bytes begin where they can be written from directly (SizedFile::kAlignment).
    void align();

    void clear();

    const std::vector<CloneStep>& steps() const { return steps_; }
    std::string_view bytes(const CloneStep& write) const {
        return {bytes_.get() + write.offset, write.bytes};
    }

  private:
    std::unique_ptr<char, decltype(&std::free)> bytes_;
    std::size_t used_ = 0;
    std::vector<CloneStep> steps_;
};

// All the memory that a clone's data ever takes, however many targets there are and however slow they are.
// Any thread.
class CloneBatchPool {
  public:
    static constexpr std::size_t kBatches = 16;

    CloneBatchPool();

    // An empty batch, which several writers can share; it comes back by itself when the last one lets go, and
    // must before the pool ends. Waits until one is free. Throws Stopped.
    std::shared_ptr<CloneBatch> take(int stop_fd);

  private:
    void give_back(CloneBatch* batch);

    FileDescriptor free_count_;  // an eventfd, so that waiting for a batch and for a stop is one poll(2)
    std::mutex mutex_;           // for free_: every writer's thread gives batches back
    std::vector<std::unique_ptr<CloneBatch>> free_;
};

}  // namespace pgcascade::postgres
