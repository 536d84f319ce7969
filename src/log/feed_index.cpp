#include "log/feed_index.hpp"

#include "base/bytes.hpp"
#include "base/crc32c.hpp"

namespace pgcascade::log {

namespace {

constexpr std::string_view kMagic = "pgcfeed1";  // the last byte is the format's version
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

// Byte8 magic | Int64 position | Int64 after | Int32 length | preamble | Int32 crc of all before
std::string to_bytes(const FeedSegmentHeader& header) {
    ByteWriter writer;
    writer.bytes(kMagic)
        .u64(header.position.value)
        .u64(header.after.value)
        .u32(static_cast<std::uint32_t>(header.preamble.size()))
        .bytes(header.preamble);
    return with_crc(std::move(writer));
}

std::optional<ParsedHeader> parse_feed_segment_header(std::string_view index) {
    ByteReader reader{index};
    if (reader.bytes(kMagic.size()) != kMagic) return std::nullopt;
    ParsedHeader parsed;
    parsed.header.position.value = reader.u64();
    parsed.header.after.value = reader.u64();
    const std::size_t preamble_bytes = reader.u32();
    if (preamble_bytes > kLargestPreamble) return std::nullopt;
    parsed.header.preamble = reader.bytes(preamble_bytes);
    reader.u32();
    if (reader.failed()) return std::nullopt;
    parsed.bytes = index.size() - reader.rest().size();
    if (!is_whole(index.substr(0, parsed.bytes))) return std::nullopt;
    return parsed;
}

// Int64 begin | Int64 end | Int64 commit_lsn | Int64 end_lsn | Int64 durable | Int32 flags | Int32 crc of the
// entry's bytes | Int32 crc of all before
std::string to_bytes(const FeedEntry& entry) {
    ByteWriter writer;
    writer.u64(entry.begin.value)
        .u64(entry.end.value)
        .u64(entry.commit_lsn.value)
        .u64(entry.end_lsn.value)
        .u64(entry.durable.value)
        .u32(entry.flags)
        .u32(entry.crc);
    return with_crc(std::move(writer));
}

std::optional<FeedEntry> parse_feed_entry(std::string_view record) {
    if (record.size() != kFeedEntryBytes || !is_whole(record)) return std::nullopt;
    ByteReader reader{record};
    FeedEntry entry;
    entry.begin.value = reader.u64();
    entry.end.value = reader.u64();
    entry.commit_lsn.value = reader.u64();
    entry.end_lsn.value = reader.u64();
    entry.durable.value = reader.u64();
    entry.flags = reader.u32();
    entry.crc = reader.u32();
    if (entry.begin >= entry.end || entry.durable > entry.begin) return std::nullopt;
    return entry;
}

}  // namespace pgcascade::log
