#include "tools/telpher/units.hpp"

#include <gtest/gtest.h>

namespace telpher::cli {
namespace {

using std::chrono::nanoseconds;
using namespace std::chrono_literals;

TEST(Units, a_duration_is_a_number_and_a_unit) {
    EXPECT_EQ(parse_duration("300ms"), nanoseconds{300ms});
    EXPECT_EQ(parse_duration("2s"), nanoseconds{2s});
    EXPECT_EQ(parse_duration("1.5s"), nanoseconds{1500ms});
    EXPECT_EQ(parse_duration("7ns"), 7ns);
    EXPECT_EQ(parse_duration("20us"), nanoseconds{20us});
    EXPECT_EQ(parse_duration("5m"), nanoseconds{5min});
    EXPECT_EQ(parse_duration("5min"), nanoseconds{5min});
    EXPECT_EQ(parse_duration("1h"), nanoseconds{1h});
}

TEST(Units, zero_alone_needs_no_unit) {
    EXPECT_EQ(parse_duration("0"), 0ns);
    EXPECT_EQ(parse_duration("0s"), 0ns);
}

TEST(Units, a_duration_without_unit_or_with_rubbish_is_refused) {
    for (const char* text : {"",
                             "5",
                             "ms",
                             "5 s",
                             " 5s",
                             "5s ",
                             "-5s",
                             "-0s",
                             "1e3s",
                             "5S",
                             "5sec",
                             "0x5s",
                             "infs",
                             "nans",
                             "1.2.3s",
                             "+5s"}) {
        EXPECT_FALSE(parse_duration(text)) << "\"" << text << "\"";
    }
}

TEST(Units, a_duration_beyond_64_bits_of_nanoseconds_is_refused) {
    EXPECT_TRUE(parse_duration("2562047h"));
    EXPECT_FALSE(parse_duration("2562048h"));
    EXPECT_FALSE(parse_duration("99999999999999999999s"));
}

TEST(Units, a_size_is_a_number_and_a_unit_of_1024) {
    EXPECT_EQ(parse_size("512B"), 512U);
    EXPECT_EQ(parse_size("1KB"), 1024U);
    EXPECT_EQ(parse_size("1KiB"), 1024U);
    EXPECT_EQ(parse_size("1.5MiB"), 1536U * 1024U);
    EXPECT_EQ(parse_size("2GB"), 2ULL << 30U);
    for (const char* text : {"", "1", "1K", "KB", "-1KB", "1 KB", "9999999999GB"}) {
        EXPECT_FALSE(parse_size(text)) << "\"" << text << "\"";
    }
}

TEST(Units, a_rate_is_per_second_or_per_minute_and_above_zero) {
    EXPECT_EQ(parse_rate("500/s"), 500.0);
    EXPECT_EQ(parse_rate("0.5/s"), 0.5);
    EXPECT_EQ(parse_rate("60/m"), 1.0);
    for (const char* text : {"", "500", "0/s", "-1/s", "/s", "5/h", "5s"}) {
        EXPECT_FALSE(parse_rate(text)) << "\"" << text << "\"";
    }
}

TEST(Units, durations_are_shown_in_the_unit_that_fits) {
    EXPECT_EQ(format_duration(850ns), "850 ns");
    EXPECT_EQ(format_duration(12'340ns), "12.3 us");
    EXPECT_EQ(format_duration(4'560us), "4.56 ms");
    EXPECT_EQ(format_duration(999'600ns), "1 ms");
    EXPECT_EQ(format_duration(1200ms), "1.2 s");
    EXPECT_EQ(format_duration(200s), "3m 20s");
    EXPECT_EQ(format_duration(125min), "2h 5m");
    EXPECT_EQ(format_duration(76h), "3d 4h");
}

TEST(Units, sizes_and_counts_are_shown_for_people) {
    EXPECT_EQ(format_size(512), "512 B");
    EXPECT_EQ(format_size(1536), "1.5 KiB");
    EXPECT_EQ(format_size(24U << 20U), "24 MiB");
    EXPECT_EQ(format_count(0), "0");
    EXPECT_EQ(format_count(999), "999");
    EXPECT_EQ(format_count(1'000), "1,000");
    EXPECT_EQ(format_count(1'234'567), "1,234,567");
}

}  // namespace
}  // namespace telpher::cli
