#include "stream/temporal_text.hpp"

#include <algorithm>
#include <limits>

namespace pgcascade {

namespace {

// Takes pieces off the front; a piece that is not there latches failed(), as in ByteReader.
class TextReader {
  public:
    explicit TextReader(std::string_view text) : rest_(text) {}

    bool take(char byte) {
        if (!rest_.starts_with(byte)) return false;
        rest_.remove_prefix(1);
        return true;
    }
    bool take(std::string_view text) {
        if (!rest_.starts_with(text)) return false;
        rest_.remove_prefix(text.size());
        return true;
    }
    void expect(char byte) { failed_ |= !take(byte); }
    void require(bool holds) { failed_ |= !holds; }

    // One to ten digits, so that nothing overflows.
    std::int64_t number() {
        std::int64_t value = 0;
        std::size_t count = 0;
        for (; count < rest_.size() && count < 10 && is_digit(rest_[count]); ++count)
            value = value * 10 + (rest_[count] - '0');
        failed_ |= count == 0;
        rest_.remove_prefix(count);
        return value;
    }

    // Up to six digits after the point, in millionths.
    std::int64_t fraction() {
        std::int64_t value = 0;
        std::size_t count = 0;
        for (; count < rest_.size() && count < 6 && is_digit(rest_[count]); ++count)
            value = value * 10 + (rest_[count] - '0');
        failed_ |= count == 0;
        rest_.remove_prefix(count);
        for (; count < 6; ++count) value *= 10;
        return value;
    }

    bool empty() const { return rest_.empty(); }
    bool failed() const { return failed_; }
    bool done() const { return !failed_ && rest_.empty(); }

  private:
    static bool is_digit(char byte) { return byte >= '0' && byte <= '9'; }

    std::string_view rest_;
    bool failed_ = false;
};

constexpr std::int64_t kDaysPerEra = 146'097;             // 400 years
constexpr std::int64_t kDaysFromMarchYearZero = 719'468;  // 0000-03-01 to 1970-01-01

// Years are counted from March, so that the leap day is a year's last.
std::int64_t days_from_civil(const CivilDate& date) {
    const std::int64_t year = date.year - (date.month <= 2 ? 1 : 0);
    const std::int64_t era = (year >= 0 ? year : year - 399) / 400;
    const std::int64_t year_of_era = year - era * 400;
    const std::int64_t month = (date.month + 9) % 12;
    const std::int64_t day_of_year = (153 * month + 2) / 5 + date.day - 1;
    const std::int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * kDaysPerEra + day_of_era - kDaysFromMarchYearZero;
}

CivilDate read_date(TextReader& reader) {
    CivilDate date;
    date.year = reader.number();
    reader.expect('-');
    date.month = static_cast<int>(reader.number());
    reader.expect('-');
    date.day = static_cast<int>(reader.number());
    // PostgreSQL's dates end in 5874897.
    reader.require(date.year < 10'000'000 && date.month >= 1 && date.month <= 12 && date.day >= 1 &&
                   date.day <= 31);
    return date;
}

// Not only times of day: the hours of an interval go far beyond 24.
std::int64_t read_time(TextReader& reader) {
    std::int64_t seconds = reader.number() * 3600;
    reader.expect(':');
    seconds += reader.number() * 60;
    reader.expect(':');
    seconds += reader.number();
    const std::int64_t fraction = reader.take('.') ? reader.fraction() : 0;
    std::int64_t micros = 0;
    const bool overflows = __builtin_mul_overflow(seconds, kMicrosPerSecond, &micros) ||
                           __builtin_add_overflow(micros, fraction, &micros);
    reader.require(!overflows);
    return overflows ? 0 : micros;
}

std::int64_t read_time_of_day(TextReader& reader) {
    const std::int64_t micros = read_time(reader);
    reader.require(micros <= kMicrosPerDay);
    return micros;
}

// "+02", "+05:30", "-00:01:15"; nothing where there is no sign.
std::optional<std::int64_t> read_offset(TextReader& reader) {
    const bool is_west = reader.take('-');
    if (!is_west && !reader.take('+')) return std::nullopt;
    std::int64_t seconds = reader.number() * 3600;
    if (reader.take(':')) seconds += reader.number() * 60;
    if (reader.take(':')) seconds += reader.number();
    reader.require(seconds < 86'400);
    return is_west ? -seconds : seconds;
}

void read_era(TextReader& reader, CivilDate& date) {
    if (reader.take(" BC")) date.year = 1 - date.year;
}

}  // namespace

CivilDate civil_date(std::int64_t days_since_1970) {
    const std::int64_t days = days_since_1970 + kDaysFromMarchYearZero;
    const std::int64_t era = (days >= 0 ? days : days - (kDaysPerEra - 1)) / kDaysPerEra;
    const std::int64_t day_of_era = days - era * kDaysPerEra;
    const std::int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36'524 - day_of_era / 146'096) / 365;
    const std::int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    const std::int64_t month = (5 * day_of_year + 2) / 153;
    CivilDate date;
    date.day = static_cast<int>(day_of_year - (153 * month + 2) / 5 + 1);
    date.month = static_cast<int>(month < 10 ? month + 3 : month - 9);
    date.year = year_of_era + era * 400 + (date.month <= 2 ? 1 : 0);
    return date;
}

std::optional<std::int64_t> parse_date(std::string_view text) {
    TextReader reader{text};
    CivilDate date = read_date(reader);
    read_era(reader, date);
    if (!reader.done()) return std::nullopt;
    return days_from_civil(date);
}

std::optional<std::int64_t> parse_time(std::string_view text) {
    TextReader reader{text};
    const std::int64_t micros = read_time_of_day(reader);
    if (!reader.done()) return std::nullopt;
    return micros;
}

std::optional<ZonedTime> parse_zoned_time(std::string_view text) {
    TextReader reader{text};
    ZonedTime time;
    time.micros = read_time_of_day(reader);
    const auto offset = read_offset(reader);
    if (!offset || !reader.done()) return std::nullopt;
    time.offset_seconds = *offset;
    return time;
}

std::optional<std::int64_t> parse_timestamp(std::string_view text) {
    TextReader reader{text};
    CivilDate date = read_date(reader);
    reader.expect(' ');
    const std::int64_t time = read_time_of_day(reader);
    const std::int64_t offset_seconds = read_offset(reader).value_or(0);
    read_era(reader, date);
    if (!reader.done()) return std::nullopt;
    std::int64_t micros = 0;
    if (__builtin_mul_overflow(days_from_civil(date), kMicrosPerDay, &micros) ||
        __builtin_add_overflow(micros, time - offset_seconds * kMicrosPerSecond, &micros))
        return std::nullopt;
    return micros;
}

std::optional<std::int64_t> parse_interval(std::string_view text) {
    constexpr std::int64_t kMicrosPerMonth = 2'629'800 * kMicrosPerSecond;
    TextReader reader{text};
    std::int64_t sum = 0;
    do {
        reader.take(' ');
        const bool is_negative = reader.take('-');
        if (!is_negative) reader.take('+');
        const TextReader at_number = reader;
        std::int64_t amount = reader.number();
        std::int64_t unit = 1;
        if (reader.take(" year")) {
            unit = 12 * kMicrosPerMonth;
        } else if (reader.take(" mon")) {
            unit = kMicrosPerMonth;
        } else if (reader.take(" day")) {
            unit = kMicrosPerDay;
        } else {
            reader = at_number;
            amount = read_time(reader);
        }
        if (unit != 1) reader.take('s');
        if (reader.failed()) return std::nullopt;
        if (__builtin_mul_overflow(amount, is_negative ? -unit : unit, &amount) ||
            __builtin_add_overflow(sum, amount, &sum))
            return is_negative ? std::numeric_limits<std::int64_t>::min()
                               : std::numeric_limits<std::int64_t>::max();
    } while (!reader.empty());
    return sum;
}

}  // namespace pgcascade
