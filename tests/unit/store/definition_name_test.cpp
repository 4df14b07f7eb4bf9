#include "src/store/definition_name.hpp"

#include <gtest/gtest.h>

#include <span>
#include <string>
#include <string_view>

namespace telpher::test {
namespace {

std::string name_of(std::string_view definition) {
    return store::name_of_definition(std::as_bytes(std::span(definition)), 7);
}

TEST(DefinitionName, is_what_the_definition_begins_with) {
    using namespace std::string_view_literals;
    EXPECT_EQ(name_of("\6\0\0\0orders"sv), "orders");
    EXPECT_EQ(name_of("\6\0\0\0orders and more"sv), "orders");
    EXPECT_EQ(name_of("\3\0\0\0\xE2\x82\xAC"sv), "\xE2\x82\xAC");
}

TEST(DefinitionName, that_makes_no_sense_is_the_destinations_number) {
    using namespace std::string_view_literals;
    for (const std::string_view definition : {""sv,
                                              "\6\0\0"sv,
                                              "\0\0\0\0"sv,
                                              "\7\0\0\0orders"sv,
                                              "\xFF\xFF\xFF\xFForders"sv,
                                              "\6\0\0\0ord\nrs"sv}) {
        EXPECT_EQ(name_of(definition), "destination 7");
    }
    const std::string longest(store::kDefinitionNameBytesMax, 'x');
    EXPECT_EQ(name_of(std::string("\xFF\0\0\0", 4) + longest), longest);
    EXPECT_EQ(name_of(std::string("\0\1\0\0", 4) + longest + "x"), "destination 7");
}

}  // namespace
}  // namespace telpher::test
