#include "base/crc32c.hpp"

#include <string>

#include <gtest/gtest.h>

namespace pgcascade {

namespace {

std::uint32_t by_table(std::string_view bytes) {
    return ~extend_crc32c_by_table(~std::uint32_t{0}, bytes);
}

struct Vector {
    std::string bytes;
    std::uint32_t checksum;
};

std::string counting(int from, int step) {
    std::string bytes;
    for (int i = 0; i < 32; ++i) bytes += static_cast<char>(from + i * step);
    return bytes;
}

}  // namespace

// RFC 3720, B.4, and the check value of CRC catalogues.
TEST(Crc32c, GivesTheKnownVectors) {
    const Vector vectors[] = {
        {"", 0},
        {"123456789", 0xE3069283},
        {std::string(32, '\0'), 0x8A9136AA},
        {std::string(32, '\xFF'), 0x62A8AB43},
        {counting(0, 1), 0x46DD794E},
        {counting(31, -1), 0x113FDB5C},
    };
    for (const Vector& vector : vectors) {
        EXPECT_EQ(crc32c(vector.bytes), vector.checksum);
        EXPECT_EQ(by_table(vector.bytes), vector.checksum);
    }
}

TEST(Crc32c, InstructionAndTableAgreeAtEveryLengthAndAlignment) {
    std::string bytes;
    for (int i = 0; i < 300; ++i) bytes += static_cast<char>(i * 131 + i / 7);
    for (std::size_t from = 0; from < 9; ++from)
        for (std::size_t size = 0; from + size <= bytes.size(); ++size) {
            const std::string_view part = std::string_view{bytes}.substr(from, size);
            ASSERT_EQ(crc32c(part), by_table(part)) << from << " " << size;
        }
}

TEST(Crc32c, PiecesGiveWhatTheWholeGives) {
    const std::string bytes = "The quick brown fox jumps over the lazy dog";
    for (std::size_t cut = 0; cut <= bytes.size(); ++cut) {
        Crc32c crc;
        crc.update(std::string_view{bytes}.substr(0, cut));
        crc.update(std::string_view{bytes}.substr(cut));
        EXPECT_EQ(crc.value(), crc32c(bytes)) << cut;
    }
}

}  // namespace pgcascade
