// The map by rising numbers: against a std::map, with numbers that stay while many pass.

#include "tcp_bridge/number_map.hpp"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <string>
#include <vector>

namespace telpher::bridge {
namespace {

using Model = std::map<std::uint64_t, std::string>;

void expect_same(const NumberMap<std::string>& map, const Model& model) {
    ASSERT_EQ(map.size(), model.size());
    std::uint64_t at = map.first();
    for (const auto& [number, text] : model) {
        ASSERT_EQ(at, number);
        ASSERT_NE(map.find(number), nullptr);
        EXPECT_EQ(*map.find(number), text);
        at = map.next(at);
    }
    EXPECT_EQ(at, 0U);
}

TEST(NumberMap, is_empty_and_forgets) {
    NumberMap<std::string> map;
    EXPECT_TRUE(map.empty());
    EXPECT_EQ(map.first(), 0U);
    EXPECT_EQ(map.find(1), nullptr);
    map.erase(1);
    map.make(7) = "seven";
    map.make(7) += "!";
    EXPECT_EQ(*map.find(7), "seven!");
    map.erase(7);
    EXPECT_EQ(map.find(7), nullptr);
    EXPECT_EQ(map.make(8), "") << "a thing that was used before is new again";
    map.clear();
    EXPECT_TRUE(map.empty());
    map.make(1) = "a new session counts from 1";
    EXPECT_EQ(map.first(), 1U);
}

TEST(NumberMap, a_thing_stays_where_it_is_while_others_come_and_go) {
    NumberMap<std::string> map;
    std::string& long_poll = map.make(1);
    long_poll = "waits";
    for (std::uint64_t number = 2; number < 100'000; ++number) {
        map.make(number) = "passes";
        if (number > 9) {
            map.erase(number - 8);
        }
    }
    EXPECT_EQ(&long_poll, map.find(1));
    EXPECT_EQ(long_poll, "waits");
    EXPECT_EQ(map.first(), 1U);
    map.erase(1);
    EXPECT_GT(map.first(), 99'000U);
}

TEST(NumberMap, is_as_a_map_whatever_is_done) {
    std::mt19937 random(1);  // NOLINT: the same each time
    NumberMap<std::string> map;
    Model model;
    std::uint64_t last = 0;
    for (int step = 0; step < 20'000; ++step) {
        const auto what = random() % 100;
        if (what < 50) {
            last += 1 + (what == 0 ? random() % 1000 : 0);
            map.make(last) = model[last] = std::to_string(step);
        } else if (what < 52 && last > 100) {
            const std::uint64_t old =
                last - random() % 100;  // one that was passed over, or is there
            map.make(old) = model[old] = "late";
        } else if (!model.empty()) {
            auto which = model.begin();
            if (what > 90) {  // mostly the oldest
                std::advance(which, static_cast<std::ptrdiff_t>(random() % model.size()));
            } else if (model.size() > 3) {
                std::advance(which, 3);  // three stay
            }
            map.erase(which->first);
            model.erase(which);
        }
        map.trim();
        if (step % 97 == 0) {
            expect_same(map, model);
        }
    }
    expect_same(map, model);
}

}  // namespace
}  // namespace telpher::bridge
