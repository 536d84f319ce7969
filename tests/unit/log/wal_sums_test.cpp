#include "log/wal_sums.hpp"

#include <filesystem>
#include <sstream>

#include <gtest/gtest.h>

#include "base/file.hpp"
#include "log/wal_log.hpp"
#include "unit/temporary_directory.hpp"

namespace pgcascade::log {

namespace {

// The bytes of the worked example under this file's name: the place where lines of bytes follow it.
std::string example(const std::string& file) {
    std::istringstream page{read_file(std::filesystem::path{PGCASCADE_TESTS_DIR} / "../docs/log_format.md")};
    std::string bytes;
    bool is_there = false;
    for (std::string line; std::getline(page, line);) {
        const bool is_hex = line.size() > 6 && line.starts_with("    ") && line[6] == ' ';
        if (is_there && is_hex) {
            std::istringstream numbers{line};
            for (unsigned byte = 0; numbers >> std::hex >> byte;) bytes += static_cast<char>(byte);
        } else {
            is_there = line == "    " + file;
        }
    }
    return bytes;
}

const WalSumsHeader kHeader{.start = {{1}, {0x3000000}}, .segment_bytes = std::uint64_t{16} << 20};
const WalSum kSum{.end = {0x3000040}, .crc = 0x48674bc7, .durable = {0x3000028}};

}  // namespace

TEST(WalSums, ExampleOfTheManualIsTrue) {
    const std::string wal = example("000000010000000000000003.partial");
    const std::string sums = example("000000010000000000000003.sums");
    ASSERT_EQ(wal.size(), 64U);
    EXPECT_EQ(to_bytes(kHeader), sums.substr(0, kWalSumsHeaderBytes));
    EXPECT_EQ(to_bytes(kSum), sums.substr(kWalSumsHeaderBytes + kWalSumBytes));

    const TemporaryDirectory directory;
    WalLog log{directory.path()};
    log.begin_at({1}, {0x3000000});
    log.append({1}, {0x3000000}, wal.substr(0, 0x28));
    log.flush();
    log.sync();
    log.append({1}, {0x3000028}, wal.substr(0x28));
    log.flush();
    EXPECT_EQ(read_file(directory.path() / "000000010000000000000003.partial"), wal);
    EXPECT_EQ(read_file(directory.path() / "000000010000000000000003.sums"), sums);
}

TEST(WalSums, HeaderThatIsCutOrDamagedIsNone) {
    const std::string bytes = to_bytes(kHeader);
    ASSERT_EQ(bytes.size(), kWalSumsHeaderBytes);
    EXPECT_EQ(parse_wal_sums_header(bytes + "sums"), kHeader);
    for (std::size_t size = 0; size < bytes.size(); ++size)
        EXPECT_FALSE(parse_wal_sums_header(bytes.substr(0, size))) << size;
    for (std::size_t at = 0; at < bytes.size(); ++at) {
        std::string damaged = bytes;
        damaged[at] = static_cast<char>(damaged[at] ^ 1);
        EXPECT_FALSE(parse_wal_sums_header(damaged)) << at;
    }
    EXPECT_FALSE(parse_wal_sums_header(to_bytes(WalSumsHeader{kHeader.start, 3 << 20})));
}

TEST(WalSums, SumThatIsCutOrDamagedIsNone) {
    const std::string bytes = to_bytes(kSum);
    ASSERT_EQ(bytes.size(), kWalSumBytes);
    EXPECT_EQ(parse_wal_sum(bytes), kSum);
    for (std::size_t size = 0; size < bytes.size(); ++size)
        EXPECT_FALSE(parse_wal_sum(bytes.substr(0, size))) << size;
    for (std::size_t at = 0; at < bytes.size(); ++at) {
        std::string damaged = bytes;
        damaged[at] = static_cast<char>(damaged[at] ^ 1);
        EXPECT_FALSE(parse_wal_sum(damaged)) << at;
    }
    EXPECT_FALSE(parse_wal_sum(std::string(kWalSumBytes, '\0')));
}

}  // namespace pgcascade::log
