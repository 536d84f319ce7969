#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "postgres/clone_batch.hpp"
#include "postgres/clone_writer.hpp"
#include "postgres/target_directory.hpp"

namespace pgcascade::postgres {

// All targets of a clone as one: what goes in is written to each of them. Memory stays bounded: a slow target
// slows the feed down. One that fails is left out from then on.
//
// Each call throws Stopped, and, once no target is left, SystemError with what became of each.
class CloneFeed {
  public:
    // `total_bytes` is for messages.
    CloneFeed(std::vector<std::unique_ptr<TargetDirectory>> targets, std::uint64_t total_bytes, int stop_fd);

    void make_directory(std::size_t root, std::string path, mode_t mode);
    void make_tablespace_link(std::string path, std::size_t tablespace);
    void begin_file(std::size_t root, std::string path, mode_t mode, std::uint64_t bytes);
    void write(std::string_view bytes);
    void end_file();

    // Waits until all is on disk, and makes each target that is left startable. Throws SystemError unless
    // every target got that far.
    void complete();

  private:
    struct Branch {
        std::unique_ptr<TargetDirectory> directory;
        std::unique_ptr<CloneWriter> writer;
        std::exception_ptr failure;
        bool is_complete = false;
    };

    CloneBatch& batch();
    void add(CloneStep step);
    void push();
    void notice_failures();
    static void complete(Branch& branch);
    std::string describe(const Branch& branch) const;
    [[noreturn]] void throw_failures() const;

    std::uint64_t total_bytes_;
    int stop_fd_;
    CloneBatchPool pool_;
    std::shared_ptr<CloneBatch> batch_;
    std::vector<Branch> branches_;  // after pool_: the writers' batches go back there
};

}  // namespace pgcascade::postgres
