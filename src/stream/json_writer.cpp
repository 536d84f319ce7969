#include "stream/json_writer.hpp"

#include <algorithm>
#include <charconv>

#include <openssl/evp.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "base/utf8.hpp"

namespace pgcascade {

namespace {

// -? (0 | [1-9][0-9]*) (. [0-9]+)? ([eE] [+-]? [0-9]+)?
class NumberScanner {
  public:
    explicit NumberScanner(std::string_view text) : at_(text.data()), end_(text.data() + text.size()) {}

    bool is_number() {
        take('-');
        if (!take('0') && !take_digits()) return false;
        if (take('.') && !take_digits()) return false;
        if (take('e') || take('E')) {
            if (!take('+')) take('-');
            if (!take_digits()) return false;
        }
        return at_ == end_;
    }

  private:
    bool take(char byte) {
        if (at_ == end_ || *at_ != byte) return false;
        ++at_;
        return true;
    }
    bool take_digits() {
        const char* start = at_;
        while (at_ != end_ && *at_ >= '0' && *at_ <= '9') ++at_;
        return at_ != start;
    }

    const char* at_;
    const char* end_;
};

}  // namespace

std::string json_string(std::string_view text) {
    std::string json;
    JsonWriter writer;
    writer.start(json);
    writer.string(text);
    writer.finish();
    return json;
}

std::string json_qualified_name(const Relation& relation) {
    return "\"schema\":" + json_string(relation.schema) + ",\"table\":" + json_string(relation.table);
}

bool is_utf8(std::string_view bytes) {
    const char* end = bytes.data() + bytes.size();
    for (const char* at = bytes.data(); at != end;) {
        const int length = static_cast<unsigned char>(*at) < 0x80 ? 1 : multibyte_length(at, end);
        if (length == 0) return false;
        at += length;
    }
    return true;
}

bool is_json_number(std::string_view text) {
    return NumberScanner{text}.is_number();
}

void JsonWriter::raw_long(std::string_view json) {
    flush();
    out_->append(json);
}

template <JsonWriter::Context context>
constexpr bool JsonWriter::is_plain(unsigned char byte) {
    if (byte < 0x20 || byte >= 0x80) return false;
    return context == Context::kBetweenTokens || (byte != '"' && byte != '\\');
}

#ifdef __SSE2__
// Returns a bit for each byte that is not plain.
template <JsonWriter::Context context>
unsigned JsonWriter::copy_sixteen(const char* from, char* to) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), bytes);
    // A signed comparison: bytes from 0x80 count as negative.
    __m128i special = _mm_cmplt_epi8(bytes, _mm_set1_epi8(0x20));
    if constexpr (context == Context::kInString)
        special = _mm_or_si128(special, _mm_or_si128(_mm_cmpeq_epi8(bytes, _mm_set1_epi8('"')),
                                                     _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'))));
    return static_cast<unsigned>(_mm_movemask_epi8(special));
}
#endif

// Copies up to the first byte that is not plain, or as far as there is room; returns where it stopped.
template <JsonWriter::Context context>
const char* JsonWriter::copy_plain(const char* from, const char* end) {
    make_room();
    const char* const full = cursor_ + kRoom - 16;
#ifdef __SSE2__
    const char* const start = from;
    while (end - from >= 16 && cursor_ <= full) {
        const unsigned special = copy_sixteen<context>(from, cursor_);
        const int plain = special == 0 ? 16 : __builtin_ctz(special);
        cursor_ += plain;
        from += plain;
        if (special != 0) return from;
    }
    if (from - start >= 16 && cursor_ <= full) {
        // The rest together with what was just copied makes sixteen bytes again.
        const auto again = 16 - (end - from);
        const unsigned special = copy_sixteen<context>(end - 16, cursor_ - again);
        const auto plain = (special == 0 ? 16 : __builtin_ctz(special)) - again;
        cursor_ += plain;
        return from + plain;
    }
#endif
    while (from != end && cursor_ <= full && is_plain<context>(static_cast<unsigned char>(*from)))
        put(*from++);
    return from;
}

// Copies as long as bytes are not ASCII and there is room; returns where it stopped.
const char* JsonWriter::copy_multibyte(const char* from, const char* end) {
    make_room();
    const char* const full = cursor_ + kRoom - 16;
    while (from != end && cursor_ <= full && static_cast<unsigned char>(*from) >= 0x80) {
        const int length = multibyte_length(from, end);
        const std::string_view character =
            length == 0 ? kReplacementCharacter : std::string_view{from, static_cast<std::size_t>(length)};
        for (const char byte : character) put(byte);
        from += length == 0 ? 1 : length;
    }
    return from;
}

template <JsonWriter::Context context>
void JsonWriter::copy(std::string_view text) {
    const char* const end = text.data() + text.size();
    for (const char* from = text.data(); from != end;) {
        from = copy_plain<context>(from, end);
        if (from == end) return;
        const auto byte = static_cast<unsigned char>(*from);
        if (byte >= 0x80) {
            from = copy_multibyte(from, end);
        } else if (!is_plain<context>(byte)) {
            make_room();
            if constexpr (context == Context::kInString)
                escape(*from++);
            else
                put(' '), ++from;
        }
    }
}

void JsonWriter::escape(char byte) {
    static constexpr char kHex[] = "0123456789abcdef";
    put('\\');
    switch (byte) {
        case '\b':
            return put('b');
        case '\f':
            return put('f');
        case '\n':
            return put('n');
        case '\r':
            return put('r');
        case '\t':
            return put('t');
        case '"':
        case '\\':
            return put(byte);
        default:
            break;
    }
    raw("u00");
    put(kHex[byte >> 4]);
    put(kHex[byte & 15]);
}

void JsonWriter::string(std::string_view text) {
    raw("\"");
    copy<Context::kInString>(text);
    raw("\"");
}

void JsonWriter::embedded(std::string_view json) {
    copy<Context::kBetweenTokens>(json);
}

void JsonWriter::number_or_string(std::string_view text) {
    if (is_json_number(text))
        raw(text);
    else
        string(text);
}

void JsonWriter::unsigned_integer(std::uint64_t value) {
    make_room();
    cursor_ = std::to_chars(cursor_, cursor_ + kRoom, value).ptr;
}

void JsonWriter::signed_integer(std::int64_t value) {
    make_room();
    cursor_ = std::to_chars(cursor_, cursor_ + kRoom, value).ptr;
}

void JsonWriter::padded_integer(std::uint64_t value, int width) {
    make_room();
    digits(value, width);
}

void JsonWriter::hexadecimal(std::uint32_t value) {
    static constexpr char kHex[] = "0123456789ABCDEF";
    std::array<char, 16> digits{};
    for (std::size_t at = 0; at < 8; ++at) digits[at] = kHex[(value >> (28 - 4 * at)) & 15];
    const int zeros = value == 0 ? 7 : __builtin_clz(value) / 4;
    std::memcpy(cursor_, digits.data() + zeros, 8);  // always eight, which is one instruction
    cursor_ += 8 - zeros;
}

void JsonWriter::lsn(Lsn value) {
    make_room();
    put('"');
    hexadecimal(static_cast<std::uint32_t>(value.value >> 32));
    put('/');
    hexadecimal(static_cast<std::uint32_t>(value.value));
    put('"');
}

void JsonWriter::digits(std::uint64_t value, int width) {
    for (int at = width - 1; at >= 0; --at, value /= 10) cursor_[at] = static_cast<char>('0' + value % 10);
    cursor_ += width;
}

void JsonWriter::utc_time(Timestamp value) {
    using namespace std::chrono;
    const auto day = floor<days>(value);
    const year_month_day date{day};
    const hh_mm_ss time{value - day};
    make_room();
    put('"');
    const int year{date.year()};
    digits(static_cast<std::uint64_t>(year), year > 9999 ? 5 : 4);
    put('-');
    digits(static_cast<unsigned>(date.month()), 2);
    put('-');
    digits(static_cast<unsigned>(date.day()), 2);
    put('T');
    digits(static_cast<std::uint64_t>(time.hours().count()), 2);
    put(':');
    digits(static_cast<std::uint64_t>(time.minutes().count()), 2);
    put(':');
    digits(static_cast<std::uint64_t>(time.seconds().count()), 2);
    put('.');
    digits(static_cast<std::uint64_t>(time.subseconds().count()), 6);
    raw("Z\"");
}

void JsonWriter::base64(std::string_view bytes) {
    raw("\"");
    for (; !bytes.empty(); bytes.remove_prefix(std::min(bytes.size(), kBase64Piece)))
        base64_piece(bytes.substr(0, kBase64Piece));
    raw("\"");
}

void JsonWriter::base64_piece(std::string_view bytes) {
    static_assert(kBase64Piece % 3 == 0 && kBase64Piece / 3 * 4 < kRoom,
                  "no padding in between, and a final zero");
    make_room();
    cursor_ +=
        EVP_EncodeBlock(reinterpret_cast<unsigned char*>(cursor_),
                        reinterpret_cast<const unsigned char*>(bytes.data()), static_cast<int>(bytes.size()));
}

}  // namespace pgcascade
