#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <pgcascade/lsn.hpp>

#include "base/crc32c.hpp"
#include "log/scan.hpp"
#include "log/wal_segment.hpp"
#include "log/wal_sums_file.hpp"

// Holds the bytes of a segment against its sums.

namespace pgcascade::log {

struct WalCheck {
    Lsn end;                    // the bytes below it are those of the sums, but for what was passed
    std::size_t sums = 0;       // up to there
    std::vector<Flaw> passed;   // see go_on_below
    std::optional<Flaw> ended;  // why it ends there; nothing: the sums do
    bool is_end_lost = false;   // the last sum was passed, for it is damaged: where it goes is not known
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

struct WalCheckOptions {
    WalResummer* resummer = nullptr;
    Lsn go_on_below = {};  // a flaw below it does not end the check, where it can be told what follows
    OnRead on_read = {};
};

// The file's header is not looked at. Throws SystemError.
WalCheck check_wal_segment(const WalSegment& segment, const WalSumsFile& sums,
                           const WalCheckOptions& options = {});

}  // namespace pgcascade::log
