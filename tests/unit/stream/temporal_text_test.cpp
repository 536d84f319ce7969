#include "stream/temporal_text.hpp"

#include <cstdio>
#include <limits>

#include <gtest/gtest.h>

namespace pgcascade {

// Each number is what SELECT extract(epoch FROM …) or a - date '1970-01-01' answers on PostgreSQL.
TEST(TemporalText, ReadsDates) {
    EXPECT_EQ(parse_date("1970-01-01"), 0);
    EXPECT_EQ(parse_date("1969-12-31"), -1);
    EXPECT_EQ(parse_date("2000-02-29"), 11016);
    EXPECT_EQ(parse_date("2024-05-01"), 19844);
    EXPECT_EQ(parse_date("0001-01-01"), -719162);
    EXPECT_EQ(parse_date("0001-12-31 BC"), -719163);
    EXPECT_EQ(parse_date("4713-01-01 BC"), -2440550);
    EXPECT_EQ(parse_date("5874897-12-31"), 2145042905);
}

TEST(TemporalText, CivilDateIsTheInverse) {
    for (std::int64_t day = -3'000'000; day < 3'000'000; day += 97) {
        const CivilDate date = civil_date(day);
        char text[40];
        const bool is_bc = date.year <= 0;
        std::snprintf(text, sizeof text, "%04lld-%02d-%02d%s",
                      static_cast<long long>(is_bc ? 1 - date.year : date.year), date.month, date.day,
                      is_bc ? " BC" : "");
        ASSERT_EQ(parse_date(text), day) << text;
    }
}

TEST(TemporalText, ReadsTimes) {
    EXPECT_EQ(parse_time("00:00:00"), 0);
    EXPECT_EQ(parse_time("12:34:56.789"), 45'296'789'000);
    EXPECT_EQ(parse_time("24:00:00"), 86'400'000'000);
    const auto zoned = parse_zoned_time("12:34:56.5-03:30");
    ASSERT_TRUE(zoned);
    EXPECT_EQ(zoned->micros, 45'296'500'000);
    EXPECT_EQ(zoned->offset_seconds, -12'600);
}

TEST(TemporalText, ReadsTimestampsInUtc) {
    EXPECT_EQ(parse_timestamp("1970-01-01 00:00:00"), 0);
    EXPECT_EQ(parse_timestamp("2018-06-20 15:13:16.945104"), 1'529'507'596'945'104);
    EXPECT_EQ(parse_timestamp("2018-06-20 15:13:16.945104+02"), 1'529'500'396'945'104);
    EXPECT_EQ(parse_timestamp("1890-01-01 00:00:00+00:53:28"), -2'524'524'808'000'000);
    EXPECT_EQ(parse_timestamp("0044-03-15 12:00:00+00 BC"), -63'517'780'800'000'000);
    EXPECT_EQ(parse_timestamp("99999-12-31 23:59:59"), 3'093'527'980'799'000'000);
}

TEST(TemporalText, ReadsIntervals) {
    EXPECT_EQ(parse_interval("00:00:00"), 0);
    EXPECT_EQ(parse_interval("01:02:03.4"), 3'723'400'000);
    EXPECT_EQ(parse_interval("-01:02:03.4"), -3'723'400'000);
    EXPECT_EQ(parse_interval("1 day"), 86'400'000'000);
    EXPECT_EQ(parse_interval("1 year 2 mons 3 days 04:05:06.789"),
              14 * 2'629'800'000'000 + 3 * 86'400'000'000 + 14'706'789'000);
    EXPECT_EQ(parse_interval("-1 years -2 mons +3 days -04:05:06"),
              -14 * 2'629'800'000'000 + 3 * 86'400'000'000 - 14'706'000'000);
    EXPECT_EQ(parse_interval("178000000 years"), std::numeric_limits<std::int64_t>::max());
    EXPECT_EQ(parse_interval("-178000000 years"), std::numeric_limits<std::int64_t>::min());
    EXPECT_EQ(parse_interval("2562047788:00:54.775807"), 9'223'372'036'854'775'807);
}

TEST(TemporalText, RefusesEveryOtherForm) {
    for (const char* text : {"", "infinity", "-infinity", "05/01/2024", "2024-05", "2024-05-01 ",
                             "2024-13-01", "2024-05-01T00:00:00", "9999999999999-01-01", "2024-05-32", "x"}) {
        EXPECT_FALSE(parse_date(text)) << text;
        EXPECT_FALSE(parse_timestamp(text)) << text;
        EXPECT_FALSE(parse_time(text)) << text;
        EXPECT_FALSE(parse_interval(text)) << text;
        EXPECT_FALSE(parse_zoned_time(text)) << text;
    }
    for (const char* text : {"99:00:00", "12:00", "12:00:00.", "12:00:00x", "9999999999:00:00"})
        EXPECT_FALSE(parse_time(text)) << text;
    for (const char* text :
         {"2024-05-01 12:00:00+", "2024-05-01 12:00:00+9999999999", "9999999-01-01 00:00:00",
          // PostgreSQL's last: its 64 bits count from 2000, these from 1970.
          "294276-12-31 23:59:59.999999"})
        EXPECT_FALSE(parse_timestamp(text)) << text;
    for (const char* text : {"1 day ", "1 fortnight", "@ 1 day", "P1D", "9999999999:00:00"})
        EXPECT_FALSE(parse_interval(text)) << text;
}

}  // namespace pgcascade
