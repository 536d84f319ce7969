#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "log/wal_file.hpp"
#include "log/wal_sums.hpp"

namespace pgcascade::log {

// The .sums file beside a segment. One writer; reading is safe beside it. Everything throws SystemError.
class WalSumsFile {
  public:
    // A new one; replaces one of that name. Nothing is durable until sync() and a sync of the directory.
    static WalSumsFile create(const std::filesystem::path& name, const WalSumsHeader& header);

    explicit WalSumsFile(WalFile file);

    // Nothing where it is damaged.
    const std::optional<WalSumsHeader>& header() const { return header_; }

    std::size_t sums() const;  // as the file is now

    // Whole sums, as bytes; fewer than asked for only at the end of the file.
    std::string read(std::size_t first, std::size_t count) const;

    // The highest durable mark that any of its sums carries; 0/0: none does.
    Lsn durable() const;

    const std::filesystem::path& file() const { return file_.name(); }
    static std::uint64_t offset_of(std::size_t number) { return kWalSumsHeaderBytes + number * kWalSumBytes; }

    // The writer's. A write that failed half done can be done again.
    void write(std::size_t number, const WalSum& sum) { file_.write(offset_of(number), to_bytes(sum)); }
    void cut(std::size_t sums) { file_.cut(offset_of(sums)); }
    void sync() const { file_.sync(); }

  private:
    WalFile file_;
    std::optional<WalSumsHeader> header_;
};

}  // namespace pgcascade::log
