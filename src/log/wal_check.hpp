#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include <pgcascade/lsn.hpp>

#include "base/crc32c.hpp"
#include "log/wal_segment.hpp"
#include "log/wal_sums_file.hpp"

// Holds the bytes of a segment against its sums.

namespace pgcascade::log {

struct WalFlaw {
    std::filesystem::path file;
    std::uint64_t offset = 0;
    std::string what;

    std::string to_string() const;  // file, offset and what it is
};

struct WalCheck {
    Lsn end;                      // the bytes below it are those of the sums
    std::size_t sums = 0;         // of which that is true
    std::optional<WalFlaw> flaw;  // nothing: the sums end there
};

// Makes new sums of bytes whose old ones are being checked: one for each kWalBlockBytes, however the bytes
// came. All of them carry the mark that everything up to `end` is on disk, so that damage to it is never
// taken for a torn tail.
class WalResummer {
  public:
    WalResummer(const WalSumsHeader& header, Lsn end);

    // What follows; what lies beyond the end is left out.
    void add(std::string_view bytes);

    std::size_t sums() const { return sums_; }
    const std::string& file() const { return file_; }  // a whole .sums file

  private:
    const Lsn end_;
    Lsn at_;
    Crc32c crc_;  // of the block under way
    std::size_t sums_ = 0;
    std::string file_;
};

// The file's header is not looked at. Throws SystemError.
WalCheck check_wal_segment(const WalSegment& segment, const WalSumsFile& sums,
                           WalResummer* resummer = nullptr);

}  // namespace pgcascade::log
