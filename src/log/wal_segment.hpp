#pragma once

#include <filesystem>
#include <string_view>

#include "log/wal_file.hpp"
#include "log/wal_name.hpp"

namespace pgcascade::log {

// One segment of WAL, byte for byte as the upstream's servers have it. Reading is safe from any thread,
// beside one writer. Everything throws SystemError.
class WalSegment {
  public:
    WalSegment(WalFile file, WalPosition start) : file_(std::move(file)), start_(start) {}

    TimelineId timeline() const { return start_.timeline; }
    WalPosition start() const { return start_; }

    // As the file is now: what lies beyond readable() may not stay.
    Lsn end() const { return {start_.lsn.value + file_.bytes()}; }

    // To send from: a byte stands at its LSN less that of start().
    int fd() const { return file_.fd(); }
    std::uint64_t offset_of(Lsn lsn) const { return lsn.value - start_.lsn.value; }

    const std::filesystem::path& file() const { return file_.name(); }

    // Fewer bytes than asked for only at the end of the file.
    std::size_t read(Lsn at, char* buffer, std::size_t bytes) const {
        return file_.read(offset_of(at), buffer, bytes);
    }

    // The writer's. A write that failed half done can be done again.
    void write(Lsn at, std::string_view bytes) { file_.write(offset_of(at), bytes); }
    void cut(Lsn end) { file_.cut(offset_of(end)); }
    void sync() const { file_.sync(); }

  private:
    WalFile file_;
    WalPosition start_;
};

}  // namespace pgcascade::log
