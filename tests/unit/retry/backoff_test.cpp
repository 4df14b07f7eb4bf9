// Goal:   each wait lies where its jitter says, to the nanosecond, and is spread as it says.
// Method: chosen random numbers for the bounds; a generator with a fixed seed and a chi-square test for the
//         spread, which must refuse another kind's waits.

#include "src/client/backoff.hpp"

#include "tcp_bridge/backoff.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <random>
#include <vector>

namespace telpher::detail {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t kLow = 0;
constexpr std::uint64_t kHigh = ~std::uint64_t{0};
constexpr std::size_t kSamples = 20'000;
constexpr std::size_t kBins = 20;
// A fair sample of 20 bins exceeds it once in a thousand seeds.
constexpr double kChiSquareMost = 43.82;

RetryPolicy policy(Jitter jitter) {
    return {.base = 100ms, .factor = 2, .cap = 10s, .jitter = jitter};
}

std::vector<Duration> waits(const RetryPolicy& policy, std::size_t count, std::uint64_t random) {
    Backoff backoff(policy);
    std::vector<Duration> all;
    for (std::size_t i = 0; i < count; ++i) {
        all.push_back(backoff.next(random));
    }
    return all;
}

// How far `values`, each in 0..1, are from an even spread.
double chi_square(const std::vector<double>& values) {
    std::array<std::size_t, kBins> bins{};
    for (const double value : values) {
        ++bins[std::min(kBins - 1, static_cast<std::size_t>(value * kBins))];
    }
    const double expected = static_cast<double>(values.size()) / kBins;
    double sum = 0;
    for (const std::size_t count : bins) {
        const double off = static_cast<double>(count) - expected;
        sum += off * off / expected;
    }
    return sum;
}

double seconds(Duration time) { return std::chrono::duration<double>(time).count(); }

// The n-th waits of many operations, as shares of `low`..`high` of that wait.
std::vector<double> shares(const RetryPolicy& policy, std::size_t n, Duration low, Duration high) {
    std::mt19937_64 random(20'260'731);
    std::vector<double> all;
    for (std::size_t i = 0; i < kSamples; ++i) {
        Backoff backoff(policy);
        Duration wait{};
        for (std::size_t k = 0; k < n; ++k) {
            wait = backoff.next(random());
        }
        EXPECT_GE(wait, low);
        EXPECT_LE(wait, high);
        all.push_back((seconds(wait) - seconds(low)) / (seconds(high) - seconds(low)));
    }
    return all;
}

TEST(Backoff, without_jitter_the_fourth_wait_is_the_base_times_two_to_the_third) {
    EXPECT_EQ(waits(policy(Jitter::none), 8, kHigh),
              (std::vector<Duration>{100ms, 200ms, 400ms, 800ms, 1600ms, 3200ms, 6400ms, 10s}));
}

TEST(Backoff, factor_1_is_a_fixed_delay) {
    RetryPolicy fixed = policy(Jitter::none);
    fixed.factor = 1;
    EXPECT_EQ(waits(fixed, 3, kHigh), (std::vector<Duration>{100ms, 100ms, 100ms}));
}

TEST(Backoff, stays_at_its_cap_and_never_overflows) {
    RetryPolicy huge{.base = 24h, .factor = 100, .cap = 24h, .range_low = 0, .range_high = 100};
    for (const Jitter jitter :
         {Jitter::none, Jitter::full, Jitter::equal, Jitter::decorrelated, Jitter::range}) {
        huge.jitter = jitter;
        for (const Duration wait : waits(huge, 2000, kHigh)) {
            ASSERT_EQ(wait, 24h);
        }
        for (const Duration wait : waits(huge, 2000, kLow)) {
            ASSERT_GE(wait, 0ns);
            ASSERT_LE(wait, 24h);
        }
    }
    const RetryPolicy tiny{.base = 1ns, .factor = 1.5, .cap = 3ns, .jitter = Jitter::none};
    EXPECT_EQ(waits(tiny, 3, kHigh), (std::vector<Duration>{1ns, 1ns, 1ns}));
}

TEST(Backoff, bounds_are_exact_for_each_jitter) {
    const std::vector<Duration> none = waits(policy(Jitter::none), 8, kHigh);
    const auto half = [&](std::size_t i) { return none[i] / 2; };
    const auto full_low = waits(policy(Jitter::full), 8, kLow);
    const auto full_high = waits(policy(Jitter::full), 8, kHigh);
    const auto equal_low = waits(policy(Jitter::equal), 8, kLow);
    const auto equal_high = waits(policy(Jitter::equal), 8, kHigh);
    for (std::size_t i = 0; i < none.size(); ++i) {
        EXPECT_EQ(full_low[i], 0ns);
        EXPECT_EQ(full_high[i], none[i]);
        EXPECT_EQ(equal_low[i], half(i));
        EXPECT_EQ(equal_high[i], none[i]);
    }
    EXPECT_EQ(waits(policy(Jitter::decorrelated), 3, kLow),
              (std::vector<Duration>{100ms, 100ms, 100ms}));
    EXPECT_EQ(waits(policy(Jitter::decorrelated), 6, kHigh),
              (std::vector<Duration>{300ms, 900ms, 2700ms, 8100ms, 10s, 10s}));
    const RetryPolicy around{.base = 2s,
                             .factor = 1,
                             .cap = 5s,
                             .jitter = Jitter::range,
                             .range_low = 0.75,
                             .range_high = 1.25};
    EXPECT_EQ(waits(around, 2, kLow), (std::vector<Duration>{1500ms, 1500ms}));
    EXPECT_EQ(waits(around, 2, kHigh), (std::vector<Duration>{2500ms, 2500ms}));
}

TEST(Backoff, full_jitter_is_spread_evenly_from_0_to_the_wait) {
    EXPECT_LT(chi_square(shares(policy(Jitter::full), 1, 0ms, 100ms)), kChiSquareMost);
    EXPECT_LT(chi_square(shares(policy(Jitter::full), 4, 0ms, 800ms)), kChiSquareMost);
}

TEST(Backoff, equal_jitter_is_spread_evenly_over_the_upper_half) {
    EXPECT_LT(chi_square(shares(policy(Jitter::equal), 1, 50ms, 100ms)), kChiSquareMost);
    EXPECT_LT(chi_square(shares(policy(Jitter::equal), 4, 400ms, 800ms)), kChiSquareMost);
}

TEST(Backoff, a_range_is_spread_evenly_between_its_ends) {
    const RetryPolicy around{.base = 2s,
                             .factor = 1,
                             .cap = 5s,
                             .jitter = Jitter::range,
                             .range_low = 0.75,
                             .range_high = 1.25};
    EXPECT_LT(chi_square(shares(around, 1, 1500ms, 2500ms)), kChiSquareMost);
    EXPECT_LT(chi_square(shares(around, 3, 1500ms, 2500ms)), kChiSquareMost);
}

TEST(Backoff, decorrelated_waits_are_spread_evenly_from_the_base_to_three_times_the_one_before) {
    RetryPolicy free = policy(Jitter::decorrelated);
    free.cap = 24h;
    std::mt19937_64 random(20'260'801);
    std::array<std::vector<double>, 4> steps;
    for (std::size_t i = 0; i < kSamples; ++i) {
        Backoff backoff(free);
        Duration before = free.base;
        for (std::vector<double>& step : steps) {
            const Duration wait = backoff.next(random());
            ASSERT_GE(wait, free.base);
            ASSERT_LE(wait, 3 * before);
            step.push_back(seconds(wait - free.base) / seconds(3 * before - free.base));
            before = wait;
        }
    }
    for (const std::vector<double>& step : steps) {
        EXPECT_LT(chi_square(step), kChiSquareMost);
    }
}

// What the tests above are worth: waits of another kind, or with a slight slope, are refused.
TEST(Backoff, the_test_of_the_spread_refuses_another_one) {
    std::vector<double> equal = shares(policy(Jitter::equal), 1, 0ms, 100ms);
    EXPECT_GT(chi_square(equal), kChiSquareMost);
    std::vector<double> sloped = shares(policy(Jitter::full), 1, 0ms, 100ms);
    for (double& share : sloped) {
        share = std::pow(share, 1.1);
    }
    EXPECT_GT(chi_square(sloped), kChiSquareMost);
}

TEST(Backoff, random_numbers_become_each_number_of_a_range_equally_often) {
    std::array<int, 7> counts{};
    std::mt19937_64 random(7);
    for (int i = 0; i < 70'000; ++i) {
        ++counts[uniform(3, 9, random()) - 3];
    }
    for (const int count : counts) {
        EXPECT_NEAR(count, 10'000, 500);
    }
    EXPECT_EQ(uniform(5, 5, kHigh), 5U);
    EXPECT_EQ(uniform(0, kHigh, kHigh), kHigh);
}

TEST(Backoff, a_remote_client_reconnects_by_the_same_waits) {
    bridge::Backoff reconnect([] { return ~std::uint64_t{0}; });
    const RetryPolicy same{.base = 50ms, .factor = 2, .cap = 5s};
    for (const Duration wait : waits(same, 10, kHigh)) {
        EXPECT_EQ(reconnect.next_ns(), static_cast<std::uint64_t>(wait.count()));
    }
    reconnect.reset();
    EXPECT_EQ(Duration(static_cast<std::int64_t>(reconnect.next_ns())), 50ms);
}

}  // namespace
}  // namespace telpher::detail
