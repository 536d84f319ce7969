#include "postgres/clone_batch.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <pgcascade/error.hpp>

#include "base/sized_file.hpp"
#include "base/stop_signal.hpp"

namespace pgcascade::postgres {

CloneBatch::CloneBatch()
    : bytes_(static_cast<char*>(std::aligned_alloc(SizedFile::kAlignment, kBytes)), std::free) {
    if (!bytes_) throw std::bad_alloc{};
}

void CloneBatch::align() {
    used_ = (used_ + SizedFile::kAlignment - 1) / SizedFile::kAlignment * SizedFile::kAlignment;
}

std::size_t CloneBatch::add_bytes(std::string_view bytes) {
    const std::size_t taken = std::min(bytes.size(), kBytes - used_);
    if (taken == 0) return 0;
    std::memcpy(bytes_.get() + used_, bytes.data(), taken);
    const bool continues = !steps_.empty() && steps_.back().kind == CloneStep::Kind::kWrite;
    if (!continues) steps_.push_back({.kind = CloneStep::Kind::kWrite, .offset = used_});
    steps_.back().bytes += taken;
    used_ += taken;
    return taken;
}

void CloneBatch::clear() {
    used_ = 0;
    steps_.clear();
}

CloneBatchPool::CloneBatchPool() : free_count_(::eventfd(kBatches, EFD_CLOEXEC | EFD_SEMAPHORE)) {
    if (!free_count_) throw SystemError("can't make an eventfd", errno);
    for (std::size_t i = 0; i < kBatches; ++i) free_.push_back(std::make_unique<CloneBatch>());
}

std::shared_ptr<CloneBatch> CloneBatchPool::take(int stop_fd) {
    wait_for(free_count_.get(), POLLIN, -1, stop_fd);
    eventfd_t taken = 0;
    if (::eventfd_read(free_count_.get(), &taken) != 0) throw SystemError("can't read an eventfd", errno);
    const std::lock_guard lock{mutex_};
    std::unique_ptr<CloneBatch> batch = std::move(free_.back());
    free_.pop_back();
    batch->clear();
    return {batch.release(), [this](CloneBatch* back) { give_back(back); }};
}

void CloneBatchPool::give_back(CloneBatch* batch) {
    {
        const std::lock_guard lock{mutex_};
        free_.emplace_back(batch);  // never grows beyond its first size: no allocation here
    }
    ::eventfd_write(free_count_.get(), 1);
}

}  // namespace pgcascade::postgres
