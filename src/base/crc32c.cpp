#include "base/crc32c.hpp"

#include <array>
#include <cstring>

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

namespace pgcascade {

namespace {

constexpr std::uint32_t kPolynomial = 0x82F63B78;  // 0x1EDC6F41, bits reversed

using Table = std::array<std::array<std::uint32_t, 256>, 8>;

// tables[k][b]: what byte b does to the state when k more bytes follow it ("slicing by 8").
constexpr Table make_tables() {
    Table tables{};
    for (std::uint32_t byte = 0; byte < 256; ++byte) {
        std::uint32_t state = byte;
        for (int bit = 0; bit < 8; ++bit) state = (state >> 1) ^ ((state & 1) != 0 ? kPolynomial : 0);
        tables[0][byte] = state;
    }
    for (std::size_t k = 1; k < 8; ++k)
        for (std::size_t byte = 0; byte < 256; ++byte) {
            const std::uint32_t before = tables[k - 1][byte];
            tables[k][byte] = (before >> 8) ^ tables[0][before & 0xFF];
        }
    return tables;
}

constexpr Table kTables = make_tables();

std::uint64_t load_u64(const char* bytes) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes, sizeof word);
    if constexpr (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__) word = __builtin_bswap64(word);
    return word;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) std::uint32_t extend_by_instruction(std::uint32_t state,
                                                                      std::string_view bytes) {
    std::uint64_t wide = state;
    for (; bytes.size() >= 8; bytes.remove_prefix(8)) wide = _mm_crc32_u64(wide, load_u64(bytes.data()));
    state = static_cast<std::uint32_t>(wide);
    for (const char byte : bytes) state = _mm_crc32_u8(state, static_cast<unsigned char>(byte));
    return state;
}
#endif

}  // namespace

std::uint32_t extend_crc32c_by_table(std::uint32_t state, std::string_view bytes) {
    for (; bytes.size() >= 8; bytes.remove_prefix(8)) {
        const std::uint64_t word = load_u64(bytes.data()) ^ state;
        state = 0;
        for (std::size_t k = 0; k < 8; ++k) state ^= kTables[7 - k][(word >> (8 * k)) & 0xFF];
    }
    for (const char byte : bytes)
        state = (state >> 8) ^ kTables[0][(state ^ static_cast<unsigned char>(byte)) & 0xFF];
    return state;
}

void Crc32c::update(std::string_view bytes) {
#if defined(__x86_64__)
    static const bool kHasInstruction = __builtin_cpu_supports("sse4.2") != 0;
    if (kHasInstruction) {
        state_ = extend_by_instruction(state_, bytes);
        return;
    }
#endif
    state_ = extend_crc32c_by_table(state_, bytes);
}

}  // namespace pgcascade
