#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

// Big-endian integers and C strings, as PostgreSQL's protocol has them.

namespace pgcascade {

// Reads from a message it does not own. A read past the end latches failed() and gives zero or an empty view
// from then on, so a parser reads everything and checks once per message.
class ByteReader {
  public:
    explicit ByteReader(std::string_view bytes) : rest_(bytes) {}

    std::uint8_t u8() { return integer<std::uint8_t>(); }
    std::uint16_t u16() { return integer<std::uint16_t>(); }
    std::uint32_t u32() { return integer<std::uint32_t>(); }
    std::uint64_t u64() { return integer<std::uint64_t>(); }
    std::int16_t i16() { return static_cast<std::int16_t>(u16()); }
    std::int32_t i32() { return static_cast<std::int32_t>(u32()); }
    std::int64_t i64() { return static_cast<std::int64_t>(u64()); }

    std::string_view bytes(std::size_t count) {
        if (count > rest_.size()) return fail();
        const std::string_view taken = rest_.substr(0, count);
        rest_.remove_prefix(count);
        return taken;
    }

    // Up to the zero byte, which is taken too and not returned.
    std::string_view c_string() {
        const auto zero = rest_.find('\0');
        if (zero == std::string_view::npos) return fail();
        const std::string_view taken = rest_.substr(0, zero);
        rest_.remove_prefix(zero + 1);
        return taken;
    }

    std::string_view rest() const { return rest_; }
    bool empty() const { return rest_.empty(); }
    bool failed() const { return failed_; }

  private:
    template <class T>
    T integer() {
        if (rest_.size() < sizeof(T)) {
            fail();
            return 0;
        }
        T value;
        std::memcpy(&value, rest_.data(), sizeof(T));
        rest_.remove_prefix(sizeof(T));
        if constexpr (sizeof(T) == 2) value = __builtin_bswap16(value);
        if constexpr (sizeof(T) == 4) value = __builtin_bswap32(value);
        if constexpr (sizeof(T) == 8) value = __builtin_bswap64(value);
        return value;
    }

    std::string_view fail() {
        failed_ = true;
        rest_ = {};
        return {};
    }

    std::string_view rest_;
    bool failed_ = false;
};

// Appends to a string that it owns.
class ByteWriter {
  public:
    ByteWriter& u8(std::uint8_t value) { return integer(value); }
    ByteWriter& u16(std::uint16_t value) { return integer(__builtin_bswap16(value)); }
    ByteWriter& u32(std::uint32_t value) { return integer(__builtin_bswap32(value)); }
    ByteWriter& u64(std::uint64_t value) { return integer(__builtin_bswap64(value)); }
    ByteWriter& i64(std::int64_t value) { return u64(static_cast<std::uint64_t>(value)); }
    ByteWriter& bytes(std::string_view bytes) {
        buffer_ += bytes;
        return *this;
    }
    ByteWriter& c_string(std::string_view text) {
        buffer_ += text;
        buffer_ += '\0';
        return *this;
    }

    const std::string& buffer() const { return buffer_; }
    std::string take() { return std::move(buffer_); }

  private:
    template <class T>
    ByteWriter& integer(T value) {
        buffer_.append(reinterpret_cast<const char*>(&value), sizeof value);
        return *this;
    }

    std::string buffer_;
};

}  // namespace pgcascade
