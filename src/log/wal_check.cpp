#include "log/wal_check.hpp"

#include <algorithm>
#include <utility>
#include <vector>

namespace pgcascade::log {

namespace {

constexpr std::size_t kReadBytes = 256 * 1024;
constexpr std::size_t kSumsAtOnce = 4096;

class Check {
  public:
    Check(const WalSegment& segment, const WalSumsFile& sums, const WalCheckOptions& options)
        : segment_(segment), sums_(sums), options_(options), buffer_(kReadBytes) {
        found_.end = segment.start().lsn;
    }

    WalCheck run() {
        for (;;) {
            const std::string records = sums_.read(found_.sums, kSumsAtOnce);
            for (std::size_t offset = 0; offset < records.size(); offset += kWalSumBytes) {
                take(parse_wal_sum(std::string_view{records}.substr(offset, kWalSumBytes)));
                if (found_.ended) return found_;
                ++found_.sums;
            }
            if (records.size() < kSumsAtOnce * kWalSumBytes) return found_;
        }
    }

  private:
    void take(const std::optional<WalSum>& sum) {
        if (!sum || sum->end <= found_.end) {
            found_.is_end_lost = true;
            return set_flaw({sums_.file(), WalSumsFile::offset_of(found_.sums), "the sum is damaged"});
        }
        Crc32c crc;
        for (Lsn at = found_.end; at < sum->end;) {
            const std::size_t wanted = std::min(buffer_.size(), sum->end.value - at.value);
            const std::size_t count = segment_.read(at, buffer_.data(), wanted);
            crc.update({buffer_.data(), count});
            if (options_.resummer != nullptr) options_.resummer->add({buffer_.data(), count});
            if (options_.on_read) options_.on_read(count);
            at.value += count;
            if (count < wanted) {
                found_.ended = Flaw{segment_.file(), offset(), "the WAL is cut short"};
                return;
            }
        }
        // Where the sum before is damaged, nobody knows from where on this one goes.
        if (crc.value() != sum->crc && !found_.is_end_lost)
            set_flaw({segment_.file(), offset(), "the WAL is damaged"});
        if (found_.ended) return;
        found_.is_end_lost = false;
        found_.end = sum->end;
    }

    std::uint64_t offset() const { return segment_.offset_of(found_.end); }

    void set_flaw(Flaw flaw) {
        if (found_.end < options_.go_on_below)
            found_.passed.push_back(std::move(flaw));
        else
            found_.ended = std::move(flaw);
    }

    const WalSegment& segment_;
    const WalSumsFile& sums_;
    const WalCheckOptions& options_;
    std::vector<char> buffer_;
    WalCheck found_;
};

}  // namespace

WalResummer::WalResummer(const WalSumsHeader& header, Lsn end)
    : end_(end), at_(header.start.lsn), file_(to_bytes(header)) {}

void WalResummer::add(std::string_view bytes) {
    while (!bytes.empty() && at_ < end_) {
        const Lsn block_end{std::min((at_.value / kWalBlockBytes + 1) * kWalBlockBytes, end_.value)};
        const std::string_view piece = bytes.substr(0, block_end.value - at_.value);
        crc_.update(piece);
        at_.value += piece.size();
        bytes.remove_prefix(piece.size());
        if (at_ < block_end) return;
        file_ += to_bytes(WalSum{.end = at_, .crc = crc_.value(), .durable = end_});
        ++sums_;
        crc_ = Crc32c{};
    }
}

WalCheck check_wal_segment(const WalSegment& segment, const WalSumsFile& sums,
                           const WalCheckOptions& options) {
    return Check{segment, sums, options}.run();
}

}  // namespace pgcascade::log
