#include "src/wire/json_check.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <random>
#include <string>

namespace telpher::wire {
namespace {

using Reason = JsonFault::Reason;

TEST(JsonCheck, accepts_every_kind_of_value) {
    for (const std::string_view text : {"null",
                                        " true ",
                                        "false",
                                        "0",
                                        "-0",
                                        "12.50e-3",
                                        "1E+9",
                                        "\"\"",
                                        "\"a\\u00e9\\ud83d\\ude00\\n\\/\"",
                                        "\"caf\xC3\xA9\"",
                                        "[]",
                                        "{}",
                                        "[[],{}]",
                                        "\t{ \"a\" : [ 1 , {\"b\":null} ] ,\n\"c\":\"\"}\r\n"}) {
        EXPECT_EQ(check_json(text).reason, Reason::none) << text;
    }
}

struct Faulty {
    std::string_view text;
    Reason reason;
    std::size_t position;
};

TEST(JsonCheck, names_reason_and_position_of_the_first_fault) {
    for (const Faulty& faulty : {Faulty{"", Reason::ends_early, 0},
                                 Faulty{"  ", Reason::ends_early, 2},
                                 Faulty{"[1,2", Reason::ends_early, 4},
                                 Faulty{"[1,]", Reason::unexpected_byte, 3},
                                 Faulty{"{\"a\":1,}", Reason::unexpected_byte, 7},
                                 Faulty{"{\"a\" 1}", Reason::unexpected_byte, 5},
                                 Faulty{"{a:1}", Reason::unexpected_byte, 1},
                                 Faulty{"[1}", Reason::unexpected_byte, 2},
                                 Faulty{"nul", Reason::ends_early, 3},
                                 Faulty{"nuls", Reason::unexpected_byte, 3},
                                 Faulty{"01", Reason::text_after_end, 1},
                                 Faulty{"1.", Reason::ends_early, 2},
                                 Faulty{"[1.]", Reason::bad_number, 3},
                                 Faulty{"-x", Reason::bad_number, 1},
                                 Faulty{"[1e]", Reason::bad_number, 3},
                                 Faulty{"+1", Reason::unexpected_byte, 0},
                                 Faulty{"\"a", Reason::ends_early, 2},
                                 Faulty{"\"\\x\"", Reason::bad_escape, 2},
                                 Faulty{"\"\\u12g4\"", Reason::bad_escape, 5},
                                 Faulty{"\"\\ud83d\"", Reason::bad_escape, 7},
                                 Faulty{"\"\\ude00\"", Reason::bad_escape, 7},
                                 Faulty{"\"\n\"", Reason::bare_control_character, 1},
                                 Faulty{"\"\xC0\xAF\"", Reason::not_utf8, 1},
                                 Faulty{"\"\xED\xA0\x80\"", Reason::not_utf8, 1},
                                 Faulty{"\"\xF4\x90\x80\x80\"", Reason::not_utf8, 1},
                                 Faulty{"{} {}", Reason::text_after_end, 3}}) {
        const JsonFault fault = check_json(faulty.text);
        EXPECT_EQ(fault.reason, faulty.reason) << faulty.text << ": " << to_string(fault.reason);
        EXPECT_EQ(fault.position, faulty.position) << faulty.text;
    }
}

TEST(JsonCheck, one_hundred_and_twenty_eight_levels_are_the_limit) {
    EXPECT_EQ(check_json(std::string(128, '[') + std::string(128, ']')).reason, Reason::none);
    const JsonFault fault = check_json(std::string(129, '[') + std::string(129, ']'));
    EXPECT_EQ(fault.reason, Reason::too_deep);
    EXPECT_EQ(fault.position, 128U);
    EXPECT_EQ(check_json(std::string(1'000'000, '[')).reason, Reason::too_deep);
    std::string wide = "[";  // depth counts, not number
    for (int i = 0; i < 1000; ++i) {
        wide += "[{}],";
    }
    EXPECT_EQ(check_json(wide + "0]").reason, Reason::none);
}

// Goal: the same verdict as a foreign parser, on texts that are nearly JSON.
// Method: a valid text with one to three bytes replaced, removed or doubled.
TEST(JsonCheck, agrees_with_another_parser_on_damaged_texts) {
    const std::string seed_text =
        "{\"a\":[1,-2.5e+3,true,null],\"b\":{\"c\":\"x\\u00e9\\ud83d\\ude00\xC3\xA9\"},\"d\":[]}";
    constexpr std::string_view kBytes = "{}[]:,\"\\0123456789.eE+-truefalsn \xC3\xA9\xED\x01";
    std::mt19937_64 engine{20240610};
    int valid = 0;
    for (int i = 0; i < 20'000; ++i) {
        std::string text = seed_text;
        for (std::size_t n = 0; n <= engine() % 3; ++n) {
            const std::size_t at = engine() % text.size();
            switch (engine() % 3) {
                case 0:
                    text[at] = kBytes[engine() % kBytes.size()];
                    break;
                case 1:
                    text.erase(at, 1);
                    break;
                default:
                    text.insert(at, 1, text[at]);
            }
        }
        const bool accepted = check_json(text).reason == Reason::none;
        ASSERT_EQ(accepted, nlohmann::json::accept(text)) << text;
        valid += accepted ? 1 : 0;
    }
    EXPECT_GT(valid, 500);  // or the test would compare refusals only
}

}  // namespace
}  // namespace telpher::wire
