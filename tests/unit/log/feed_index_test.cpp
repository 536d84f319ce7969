#include "log/feed_index.hpp"

#include <filesystem>
#include <sstream>

#include <gtest/gtest.h>

#include "base/crc32c.hpp"
#include "base/file.hpp"

namespace pgcascade::log {

namespace {

// The bytes of the worked example under this file's name.
std::string example(const std::string& file) {
    std::istringstream page{read_file(std::filesystem::path{PGCASCADE_TESTS_DIR} / "../docs/log_format.md")};
    std::string bytes;
    bool is_there = false;
    for (std::string line; std::getline(page, line);) {
        if (!is_there) {
            is_there = line == "    " + file;
            // The first place where it is named lists files.
            if (is_there && !(std::getline(page, line) && line.starts_with("    ") && line[6] == ' '))
                is_there = false;
            if (!is_there) continue;
        }
        if (line.empty()) break;
        std::istringstream numbers{line};
        for (unsigned byte = 0; numbers >> std::hex >> byte;) bytes += static_cast<char>(byte);
    }
    return bytes;
}

const FeedEntry kEntry{.begin = {0},
                       .end = {0x6b},
                       .commit_lsn = Lsn{0x16B3788},
                       .end_lsn = Lsn{0x16B37B8},
                       .durable = {0},
                       .flags = 0,
                       .crc = 0xb6b636c4};

}  // namespace

TEST(FeedIndex, ExampleOfTheManualIsTrue) {
    const std::string index = example("0000000000000000.index");
    const std::string frames = example("0000000000000000.frames");
    EXPECT_EQ(to_bytes(FeedSegmentHeader{}) + to_bytes(kEntry), index);
    EXPECT_EQ(frames.size(), kEntry.end.value);
    EXPECT_EQ(crc32c(frames), kEntry.crc);
}

TEST(FeedIndex, HeaderComesBackWithItsPreamble) {
    const FeedSegmentHeader header{{0x4000338}, Lsn{0x16B3788}, std::string{"frames\0 of relations", 20}};
    const std::string bytes = to_bytes(header);
    const auto parsed = parse_feed_segment_header(bytes + "entries");
    ASSERT_TRUE(parsed);
    EXPECT_EQ(parsed->header, header);
    EXPECT_EQ(parsed->bytes, bytes.size());
}

TEST(FeedIndex, HeaderThatIsCutOrDamagedIsNone) {
    const std::string bytes = to_bytes(FeedSegmentHeader{{7}, Lsn{9}, "preamble"});
    for (std::size_t size = 0; size < bytes.size(); ++size)
        EXPECT_FALSE(parse_feed_segment_header(bytes.substr(0, size))) << size;
    for (std::size_t at = 0; at < bytes.size(); ++at) {
        std::string damaged = bytes;
        damaged[at] = static_cast<char>(damaged[at] ^ 1);
        EXPECT_FALSE(parse_feed_segment_header(damaged)) << at;
    }
}

TEST(FeedIndex, EntryThatIsCutOrDamagedIsNone) {
    const std::string bytes = to_bytes(kEntry);
    ASSERT_EQ(parse_feed_entry(bytes), kEntry);
    for (std::size_t size = 0; size < bytes.size(); ++size)
        EXPECT_FALSE(parse_feed_entry(bytes.substr(0, size))) << size;
    for (std::size_t at = 0; at < bytes.size(); ++at) {
        std::string damaged = bytes;
        damaged[at] = static_cast<char>(damaged[at] ^ 1);
        EXPECT_FALSE(parse_feed_entry(damaged)) << at;
    }
    EXPECT_FALSE(parse_feed_entry(std::string(kFeedEntryBytes, '\0')));
}

}  // namespace pgcascade::log
