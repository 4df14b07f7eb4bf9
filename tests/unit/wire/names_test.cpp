#include "src/wire/names.hpp"

#include <gtest/gtest.h>

#include <string>

namespace telpher::wire {
namespace {

TEST(Names, are_1_to_100_bytes_of_the_allowed_characters) {
    EXPECT_TRUE(check_name("queue name", "a"));
    EXPECT_TRUE(check_name("queue name", "Orders/eu-west_1.v2"));
    EXPECT_TRUE(check_name("queue name", std::string(100, 'z')));
    EXPECT_EQ(check_name("queue name", "").error().detail,
              "queue name is 0 bytes, the limit is 1..100");
    EXPECT_EQ(check_name("queue name", std::string(101, 'z')).error().detail,
              "queue name is 101 bytes, the limit is 1..100");
    for (unsigned byte = 0; byte < 256; ++byte) {
        const bool allowed =
            std::string_view{"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._/-"}
                .find(static_cast<char>(byte)) != std::string_view::npos;
        const auto checked = check_name("queue name", std::string{"a"} + static_cast<char>(byte));
        EXPECT_EQ(checked.has_value(), allowed) << byte;
        EXPECT_EQ(checked.status(), allowed ? Status::ok : Status::bad_request);
    }
    EXPECT_EQ(check_name("function", "a\nb").error().detail,
              "function has byte 0x0A at position 1, allowed are [A-Za-z0-9._/-]");
}

TEST(Names, patterns_may_have_wildcards_as_whole_levels) {
    for (const std::string_view pattern : {"price", "*", ">", "a.*.c", "a.b.>", "*.*", "a..b"}) {
        EXPECT_TRUE(check_topic_pattern(pattern)) << pattern;
    }
    for (const std::string_view pattern : {"", "a*", "a.b*.c", ">.a", "a.>.b", "a>", "a b", "**"}) {
        EXPECT_EQ(check_topic_pattern(pattern).status(), Status::bad_request) << pattern;
    }
    EXPECT_FALSE(is_wildcard("a.b"));
    EXPECT_TRUE(is_wildcard("a.*"));
    EXPECT_TRUE(is_wildcard(">"));
}

TEST(Names, a_star_matches_one_level_and_an_angle_the_rest) {
    EXPECT_TRUE(topic_matches("a.b", "a.b"));
    EXPECT_FALSE(topic_matches("a.b", "a.c"));
    EXPECT_FALSE(topic_matches("a.b", "a"));
    EXPECT_FALSE(topic_matches("a", "a.b"));
    EXPECT_FALSE(topic_matches("a", "ab"));
    EXPECT_TRUE(topic_matches("a.*", "a.b"));
    EXPECT_FALSE(topic_matches("a.*", "a"));
    EXPECT_FALSE(topic_matches("a.*", "a.b.c"));
    EXPECT_TRUE(topic_matches("*.b", "a.b"));
    EXPECT_TRUE(topic_matches("a.>", "a.b"));
    EXPECT_TRUE(topic_matches("a.>", "a.b.c"));
    EXPECT_FALSE(topic_matches("a.>", "a"));
    EXPECT_FALSE(topic_matches("a.>", "b.c"));
    EXPECT_TRUE(topic_matches(">", "a"));
    EXPECT_TRUE(topic_matches(">", "a.b"));
    EXPECT_TRUE(topic_matches("*.*.>", "a.b.c.d"));
    EXPECT_FALSE(topic_matches("*.*.>", "a.b"));
}

TEST(Names, mimetypes_and_charsets_compare_without_case) {
    EXPECT_TRUE(is_mimetype("text/plain"));
    EXPECT_TRUE(is_mimetype("application/vnd.api+json"));
    for (const std::string_view text : {"", "/", "a/", "/b", "a", "a/b/c", "a b/c", "a/b;c"}) {
        EXPECT_FALSE(is_mimetype(text)) << text;
    }
    EXPECT_TRUE(equal_ignoring_case("UTF-8", "utf-8"));
    EXPECT_FALSE(equal_ignoring_case("UTF-8", "utf-88"));
    EXPECT_TRUE(is_json_kind("Application/JSON", "utf-8"));
    EXPECT_TRUE(is_json_kind("application/json", ""));
    EXPECT_FALSE(is_json_kind("application/json", "UTF-16"));
}

}  // namespace
}  // namespace telpher::wire
