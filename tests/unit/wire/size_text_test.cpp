#include "src/wire/size_text.hpp"

#include <gtest/gtest.h>

#include <limits>

namespace telpher::wire {
namespace {

TEST(SizeText, an_option_is_a_size_a_number_of_bytes_or_minus_1) {
    EXPECT_EQ(parse_size_option("-1"), -1);
    EXPECT_EQ(parse_size_option("0"), 0);
    EXPECT_EQ(parse_size_option("1000"), 1000);
    EXPECT_EQ(parse_size_option("1KB"), 1024);
    EXPECT_EQ(parse_size_option("1KiB"), 1024);
    EXPECT_EQ(parse_size_option("2MB"), 2 << 20);
    EXPECT_EQ(parse_size_option("1.5KB"), 1536);
    EXPECT_EQ(parse_size_option("512B"), 512);
    EXPECT_EQ(parse_size_option("1GB"), 1 << 30);
    EXPECT_EQ(parse_size_option("9007199254740993"), 9007199254740993);  // 2^53 + 1
    EXPECT_EQ(parse_size_option("9223372036854775807"), std::numeric_limits<std::int64_t>::max());
}

TEST(SizeText, anything_else_is_none) {
    for (const char* text : {"",
                             "-",
                             "-2",
                             "-0",
                             "-1KB",
                             "+1",
                             "1K",
                             "KB",
                             "1 KB",
                             " 1",
                             "1 ",
                             "1.5",
                             "1e3",
                             "0x10",
                             "1KBB",
                             "1kb",
                             "nanKB",
                             "infB",
                             "1,000",
                             "- 1",
                             "-1 ",
                             "--1",
                             "9223372036854775808",
                             "9999999999GB"}) {
        EXPECT_FALSE(parse_size_option(text)) << "\"" << text << "\"";
    }
}

}  // namespace
}  // namespace telpher::wire
