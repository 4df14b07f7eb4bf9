// Who may connect how often, and how much of a flood gets into the log.

#include "tcp_bridge/connect_rate.hpp"

#include "tcp_bridge/log_limit.hpp"

#include <gtest/gtest.h>

namespace telpher::bridge {
namespace {

using namespace std::chrono_literals;

constexpr ConnectRate::Clock::time_point kStart{1h};

int admitted(ConnectRate& rate, const std::string& address, int tries, auto now) {
    int count = 0;
    for (int i = 0; i < tries; ++i) {
        count += rate.admit(address, now) ? 1 : 0;
    }
    return count;
}

TEST(ConnectRate, a_burst_and_then_so_many_a_second) {
    ConnectRate rate(10, 20);
    EXPECT_EQ(admitted(rate, "a", 100, kStart), 20);
    EXPECT_EQ(admitted(rate, "a", 100, kStart + 500ms), 5);
    EXPECT_EQ(admitted(rate, "a", 100, kStart + 1h), 20);
}

TEST(ConnectRate, one_address_takes_nothing_from_another) {
    ConnectRate rate(10, 20);
    EXPECT_EQ(admitted(rate, "a", 100, kStart), 20);
    EXPECT_EQ(admitted(rate, "b", 100, kStart), 20);
}

TEST(ConnectRate, zero_is_no_limit) {
    ConnectRate rate(0, 1);
    EXPECT_EQ(admitted(rate, "a", 10'000, kStart), 10'000);
    EXPECT_EQ(rate.addresses(), 0U);
}

// Goal: a flood from ever new addresses takes bounded memory, and who was known before keeps its own bucket.
TEST(ConnectRate, any_number_of_addresses_has_bounded_memory) {
    ConnectRate rate(10, 20);
    EXPECT_EQ(admitted(rate, "known", 20, kStart), 20);
    int count = 0;
    for (int i = 0; i < 100'000; ++i) {
        count += rate.admit("new " + std::to_string(i), kStart) ? 1 : 0;
    }
    EXPECT_EQ(rate.addresses(), ConnectRate::kAddressesMax);
    EXPECT_EQ(count,
              static_cast<int>(ConnectRate::kAddressesMax) - 1 + 20);  // the last 20 together
    EXPECT_EQ(admitted(rate, "known", 100, kStart + 1s), 10);
    // Full again: forgotten when room is needed.
    EXPECT_EQ(admitted(rate, "later", 100, kStart + 10s), 20);
    EXPECT_LT(rate.addresses(), 10U);
}

TEST(LogLimit, so_many_lines_of_a_kind_and_then_a_count) {
    LogLimit limit;
    int lines = 0;
    for (int i = 0; i < 1000; ++i) {
        lines += limit.admit(LogKind::refused, kStart) ? 1 : 0;
    }
    EXPECT_EQ(lines, 10);
    EXPECT_TRUE(limit.admit(LogKind::broken, kStart));
    EXPECT_TRUE(limit.admit(LogKind::life, kStart));
    EXPECT_EQ(limit.left_out(kStart + 999ms), "");
    EXPECT_FALSE(limit.admit(LogKind::refused, kStart + 1500ms))
        << "what was left out is told first";
    EXPECT_EQ(limit.left_out(kStart + 1500ms), "not logged: 991 more connections refused");
    EXPECT_EQ(limit.left_out(kStart + 1500ms), "");
    EXPECT_TRUE(limit.admit(LogKind::refused, kStart + 1500ms));
}

TEST(LogLimit, a_line_stays_a_line_of_printable_letters) {
    EXPECT_EQ(log_text("plain: 'text'"), "plain: 'text'");
    EXPECT_EQ(log_text("a\nb\x1b[2J\xc3\xa9\x7f"), "a\\x0ab\\x1b[2J\\xc3\\xa9\\x7f");
    EXPECT_EQ(log_text(std::string(501, 'x')), std::string(500, 'x') + "...");
}

}  // namespace
}  // namespace telpher::bridge
