#include "log/wal_sums_file.hpp"

#include <algorithm>
#include <string_view>
#include <utility>

namespace pgcascade::log {

namespace {

constexpr std::size_t kSumsAtOnce = 4096;

}  // namespace

WalSumsFile WalSumsFile::create(const std::filesystem::path& name, const WalSumsHeader& header) {
    WalFile file = WalFile::create(name);
    file.write(0, to_bytes(header));
    return WalSumsFile{std::move(file)};
}

WalSumsFile::WalSumsFile(WalFile file) : file_(std::move(file)) {
    std::string bytes(kWalSumsHeaderBytes, '\0');
    bytes.resize(file_.read(0, bytes.data(), bytes.size()));
    header_ = parse_wal_sums_header(bytes);
}

std::size_t WalSumsFile::sums() const {
    const std::uint64_t bytes = file_.bytes();
    return bytes < kWalSumsHeaderBytes ? 0 : (bytes - kWalSumsHeaderBytes) / kWalSumBytes;
}

std::string WalSumsFile::read(std::size_t first, std::size_t count) const {
    std::string bytes(count * kWalSumBytes, '\0');
    const std::size_t found = file_.read(offset_of(first), bytes.data(), bytes.size());
    bytes.resize(found / kWalSumBytes * kWalSumBytes);
    return bytes;
}

Lsn WalSumsFile::durable() const {
    Lsn highest;
    for (std::size_t first = 0;; first += kSumsAtOnce) {
        const std::string bytes = read(first, kSumsAtOnce);
        for (std::size_t offset = 0; offset < bytes.size(); offset += kWalSumBytes)
            if (const auto sum = parse_wal_sum(std::string_view{bytes}.substr(offset, kWalSumBytes)))
                highest = std::max(highest, sum->durable);
        if (bytes.size() < kSumsAtOnce * kWalSumBytes) return highest;
    }
}

}  // namespace pgcascade::log
