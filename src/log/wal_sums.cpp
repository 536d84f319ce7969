#include "log/wal_sums.hpp"

#include <utility>

#include "base/bytes.hpp"
#include "base/crc32c.hpp"

namespace pgcascade::log {

namespace {

constexpr std::string_view kMagic = "pgcwals1";  // the last byte is the format's version
constexpr std::size_t kCrcBytes = 4;

std::string with_crc(ByteWriter writer) {
    writer.u32(crc32c(writer.buffer()));
    return writer.take();
}

bool is_whole(std::string_view bytes) {
    ByteReader crc{bytes.substr(bytes.size() - kCrcBytes)};
    return crc.u32() == crc32c(bytes.substr(0, bytes.size() - kCrcBytes));
}

}  // namespace

// Byte8 magic | Int32 timeline | Int64 start | Int64 segment_bytes | Int32 crc of all before
std::string to_bytes(const WalSumsHeader& header) {
    ByteWriter writer;
    writer.bytes(kMagic)
        .u32(header.start.timeline.value)
        .u64(header.start.lsn.value)
        .u64(header.segment_bytes);
    return with_crc(std::move(writer));
}

std::optional<WalSumsHeader> parse_wal_sums_header(std::string_view file) {
    if (file.size() < kWalSumsHeaderBytes || !is_whole(file.substr(0, kWalSumsHeaderBytes)))
        return std::nullopt;
    ByteReader reader{file};
    if (reader.bytes(kMagic.size()) != kMagic) return std::nullopt;
    WalSumsHeader header;
    header.start.timeline.value = reader.u32();
    header.start.lsn.value = reader.u64();
    header.segment_bytes = reader.u64();
    if (!is_wal_segment_size(header.segment_bytes)) return std::nullopt;
    return header;
}

// Int64 end | Int32 crc of the bytes | Int64 durable | Int32 crc of all before
std::string to_bytes(const WalSum& sum) {
    ByteWriter writer;
    writer.u64(sum.end.value).u32(sum.crc).u64(sum.durable.value);
    return with_crc(std::move(writer));
}

std::optional<WalSum> parse_wal_sum(std::string_view record) {
    if (record.size() != kWalSumBytes || !is_whole(record)) return std::nullopt;
    ByteReader reader{record};
    WalSum sum;
    sum.end.value = reader.u64();
    sum.crc = reader.u32();
    sum.durable.value = reader.u64();
    return sum;
}

}  // namespace pgcascade::log
