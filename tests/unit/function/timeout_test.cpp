// Goal:   timeouts that follow a function's latencies: what they come to, of few calls and many, when the
//         function becomes slower, and over every way to a domain.

#include "telpher/timeout.hpp"

#include "src/broker/call_quantiles.hpp"
#include "tests/unit/support/ways.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <thread>

namespace telpher {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t kSecond = 1'000'000'000;

class Quantiles : public ::testing::Test {
  protected:
    void add(Duration time, int calls) {
        shm::add_latency(
            counts_, static_cast<std::uint64_t>(time.count()), static_cast<std::uint64_t>(calls));
    }
    // After another 100 ms.
    Duration resolve(const Timeout& timeout) {
        now_ += detail::kQuantilesRefreshNs;
        return quantiles_.resolve(timeout, &counts_, now_);
    }
    shm::LatencyCounts counts_{};
    detail::CallQuantiles quantiles_;
    std::uint64_t now_ = kSecond;
};

TEST_F(Quantiles, of_fewer_than_100_calls_are_the_maximum) {
    const Timeout timeout = Timeout::from_quantile(0.99, 2, 1us, 3s);
    EXPECT_EQ(resolve(timeout), 3s);
    add(100us, 99);
    EXPECT_EQ(resolve(timeout), 3s);
    add(100us, 1);
    EXPECT_EQ(resolve(timeout), 200us) << "the maximum is exact";
    EXPECT_EQ(quantiles_.resolve(timeout, nullptr, now_), 3s) << "nothing is counted";
}

TEST_F(Quantiles, are_multiplied_and_stay_between_minimum_and_maximum) {
    add(100us, 990);
    add(10ms, 10);
    const Duration p50 = resolve(Timeout::from_quantile(0.5, 3, 0ns, 1h));
    EXPECT_GE(p50, 300us);
    EXPECT_LE(p50, 300us * 9 / 8);
    EXPECT_EQ(resolve(Timeout::from_quantile(0.999, 3, 0ns, 1h)), 30ms);
    EXPECT_EQ(resolve(Timeout::from_quantile(0.999, 3, 50ms, 1h)), 50ms);
    EXPECT_EQ(resolve(Timeout::from_quantile(0.999, 3, 0ns, 20ms)), 20ms);
    EXPECT_EQ(resolve(Timeout::from_quantile(1, 1000, 0ns, Duration::max())), 10s);
    EXPECT_LE(resolve(Timeout::from_quantile(0.5, 0.1, 0ns, 1h)), 12us);
    // More of them than are kept.
    for (int i = 1; i <= 10; ++i) {
        EXPECT_EQ(quantiles_.resolve(
                      Timeout::from_quantile(0.99 + i * 0.0009, i, 0ns, 1h), &counts_, now_),
                  10ms * i);
    }
}

TEST_F(Quantiles, are_computed_again_after_100_ms) {
    const Timeout timeout = Timeout::from_quantile(1, 1, 0ns, 1h);
    add(1ms, 100);
    EXPECT_EQ(resolve(timeout), 1ms);
    add(2ms, 1);
    EXPECT_EQ(quantiles_.resolve(timeout, &counts_, now_ + detail::kQuantilesRefreshNs - 1), 1ms);
    EXPECT_EQ(quantiles_.resolve(timeout, &counts_, now_ + detail::kQuantilesRefreshNs), 2ms);
}

TEST_F(Quantiles, are_of_the_latest_calls) {
    const Timeout timeout = Timeout::from_quantile(0.99, 1, 0ns, 1h);
    add(1ms, 1'000'000);
    EXPECT_LT(resolve(timeout), 2ms);
    // Twice as many as a turn needs, with a look between.
    for (int turn = 0; turn < 2; ++turn) {
        add(50ms, static_cast<int>(detail::kQuantilesTurnLeast));
        now_ += detail::kQuantilesTurnNs;
        static_cast<void>(resolve(timeout));
    }
    EXPECT_GE(resolve(timeout), 50ms) << "the million that was fast is forgotten";
    // It is fast again.
    for (int turn = 0; turn < 3; ++turn) {
        add(1ms, static_cast<int>(detail::kQuantilesTurnCalls));
        static_cast<void>(resolve(timeout));
    }
    EXPECT_LT(resolve(timeout), 2ms);
}

TEST_F(Quantiles, stay_when_few_calls_are_made) {
    const Timeout timeout = Timeout::from_quantile(0.5, 1, 0ns, 1h);
    add(1ms, 500);
    EXPECT_LT(resolve(timeout), 2ms);
    for (int hours = 0; hours < 100; ++hours) {
        now_ += 3600 * kSecond;
        EXPECT_LT(resolve(timeout), 2ms);
    }
}

TEST(TimeoutValue, a_duration_is_one) {
    constexpr Timeout timeout = 250ms;
    EXPECT_FALSE(timeout.adaptive());
    EXPECT_EQ(timeout.max(), 250ms);
    EXPECT_EQ(Timeout(), Timeout(0s));
    EXPECT_TRUE(timeout.check());
    const Timeout followed = Timeout::from_quantile(0.99, 2, 1ms, 1s);
    EXPECT_TRUE(followed.adaptive());
    EXPECT_TRUE(followed.check());
}

TEST(TimeoutValue, absurd_fields_name_themselves) {
    const auto text = [](const Timeout& timeout) { return timeout.check().error().detail; };
    const double nan = std::nan("");
    for (const double q : {0.0, -0.1, 1.01, nan}) {
        EXPECT_EQ(Timeout::from_quantile(q, 1, 0s, 1s).check().status(), Status::bad_request);
    }
    for (const double factor : {0.0, -1.0, 1000.5, nan}) {
        EXPECT_EQ(Timeout::from_quantile(0.5, factor, 0s, 1s).check().status(),
                  Status::bad_request);
    }
    EXPECT_EQ(text(Timeout::from_quantile(1.5, 1, 0s, 1s)),
              "timeout.quantile is 1.5, allowed are above 0 to 1");
    EXPECT_EQ(text(Timeout::from_quantile(0.5, 2000, 0s, 1s)),
              "timeout.factor is 2000, allowed are above 0 to 1000");
    EXPECT_EQ(text(Timeout::from_quantile(0.5, 1, 2ns, 1ns)),
              "timeout.min is 2 ns, allowed are 0..1 ns (max)");
    EXPECT_EQ(text(Timeout::from_quantile(0.5, 1, -2ns, 1ns)),
              "timeout.min is -2 ns, allowed are 0..1 ns (max)");
    EXPECT_EQ(text(Timeout::from_quantile(0.5, 1, -2ns, -1ns)),
              "timeout.max is -1 ns, allowed are 0 and more");
}

class TimeoutWays : public test::Ways {
  protected:
    static Message order(std::string_view text) { return Message::text("order", text); }
};

TEST_P(TimeoutWays, a_call_is_given_up_after_a_multiple_of_what_calls_take) {
    const auto sleeper = [](const Message& request) {
        std::this_thread::sleep_for(request.text() == "slow" ? 3s : 0s);
        return request;
    };
    const Function served = server.serve("f", sleeper, {.threads = 4}).value();
    const Timeout timeout = Timeout::from_quantile(0.99, 20, 50ms, kSoon);
    for (int i = 0; i < 150; ++i) {
        ASSERT_TRUE(client.send("f", order("fast"), timeout)) << "of few calls it is the maximum";
    }
    std::this_thread::sleep_for(150ms);
    const auto began = std::chrono::steady_clock::now();
    EXPECT_EQ(client.send("f", order("slow"), timeout).status(), Status::timed_out);
    EXPECT_LT(std::chrono::steady_clock::now() - began, 2900ms);
    EXPECT_EQ(client.send_async("f", order("slow"), timeout).get(kSoon).status(),
              Status::timed_out);
    EXPECT_LT(std::chrono::steady_clock::now() - began, 5800ms);
    EXPECT_TRUE(client.send("f", order("fast"), timeout));
    const Latency latency = client.function_status("f").value().latency;
    EXPECT_GE(latency.count(), 151U);
    EXPECT_LE(latency.p50(), latency.p999());
    EXPECT_LE(latency.p999(), latency.max());
}

TEST_P(TimeoutWays, absurd_ones_are_refused_by_every_call) {
    const Timeout absurd = Timeout::from_quantile(2, 1, 0s, 1s);
    EXPECT_EQ(client.send("f", order("x"), absurd).status(), Status::bad_request);
    EXPECT_EQ(client.send(order("x"), absurd).status(), Status::bad_request);
    EXPECT_EQ(client.send_async("f", order("x"), absurd).get(kSoon).status(), Status::bad_request);
    EXPECT_EQ(client.send("f", order("x"), Timeout::from_quantile(0.9, 1, 0s, 10ms)).status(),
              Status::function_not_found);
}

INSTANTIATE_TEST_SUITE_P(OverEveryWay, TimeoutWays, test::kAllWays, test::name_of_way);

}  // namespace
}  // namespace telpher
