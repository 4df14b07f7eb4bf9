// Goal:   what is counted of calls, and what is computed from it: exact at every edge of a bucket, near
//         the truth elsewhere, nothing lost between threads, nothing left for a later function.

#include "telpher/latency.hpp"

#include "shm/latency.hpp"
#include "src/broker/call_measure.hpp"
#include "tests/unit/support/scratch_domain.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <random>
#include <thread>
#include <vector>

namespace telpher {
namespace {

using namespace std::chrono_literals;
using detail::kLatencyBuckets;
using detail::latency_bucket;
using detail::latency_bucket_low;

Latency of(const shm::LatencyCounts& counts) {
    shm::LatencySnapshot snapshot;
    shm::read_latency(counts, snapshot);
    return Latency::of(snapshot.counts, Duration(static_cast<std::int64_t>(snapshot.max_ns)));
}

TEST(LatencyBuckets, every_time_from_a_buckets_first_to_its_last_lies_in_it) {
    EXPECT_EQ(latency_bucket(0), 0U);
    EXPECT_EQ(latency_bucket(127), 0U);
    EXPECT_EQ(latency_bucket(128), 1U);
    for (std::uint32_t bucket = 0; bucket < kLatencyBuckets - 1; ++bucket) {
        const std::uint64_t low = latency_bucket_low(bucket);
        const std::uint64_t next = latency_bucket_low(bucket + 1);
        ASSERT_LT(low, next);
        EXPECT_EQ(latency_bucket(low), bucket);
        EXPECT_EQ(latency_bucket(next - 1), bucket);
        EXPECT_EQ(latency_bucket(next), bucket + 1);
        if (bucket != 0) {
            EXPECT_LE((next - 1 - low) * 8, low) << "at most an eighth wide";
        }
    }
    EXPECT_EQ(latency_bucket_low(kLatencyBuckets - 1), std::uint64_t{1} << 42U);
    EXPECT_EQ(latency_bucket(~std::uint64_t{0}), kLatencyBuckets - 1);
}

TEST(LatencyQuantiles, are_at_most_an_eighth_above_those_of_a_sorted_list) {
    std::mt19937_64 random(17);
    std::lognormal_distribution<double> times(12, 2.5);  // most from 1 us to 30 ms
    shm::LatencyCounts counts{};
    std::vector<std::uint64_t> all(20'000);
    for (std::uint64_t& ns : all) {
        ns = static_cast<std::uint64_t>(times(random));
        shm::add_latency(counts, ns, 1);
    }
    std::sort(all.begin(), all.end());
    const Latency latency = of(counts);
    EXPECT_EQ(latency.count(), all.size());
    EXPECT_EQ(latency.max().count(), static_cast<std::int64_t>(all.back()));
    EXPECT_EQ(latency.quantile(1), latency.max());
    for (const double q :
         {0.0, 0.0001, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999, 0.9999, 1.0}) {
        const auto rank = static_cast<std::size_t>(std::ceil(q * static_cast<double>(all.size())));
        const std::uint64_t exact = all[rank == 0 ? 0 : rank - 1];
        const auto told = static_cast<std::uint64_t>(latency.quantile(q).count());
        EXPECT_GE(told, exact) << q;
        EXPECT_LE(told, std::max<std::uint64_t>(127, exact + exact / 8)) << q;
    }
    EXPECT_EQ(latency.p50(), latency.quantile(0.5));
    EXPECT_EQ(latency.p99(), latency.quantile(0.99));
    EXPECT_EQ(latency.p999(), latency.quantile(0.999));
}

TEST(LatencyQuantiles, of_nothing_of_one_and_of_nonsense) {
    EXPECT_EQ(Latency().quantile(0.5), Duration{});
    shm::LatencyCounts counts{};
    shm::add_latency(counts, 1'000, 1);
    const Latency one = of(counts);
    for (const double q : {-1.0, 0.0, 0.5, 1.0, 2.0, std::nan("")}) {
        EXPECT_EQ(one.quantile(q), 1'000ns) << "at most the longest, which is exact";
    }
    // Scribbled over: any number, and no crash.
    std::vector<std::uint64_t> scribbled(kLatencyBuckets + 7, ~std::uint64_t{0});
    const Latency damaged = Latency::of(scribbled, Duration(-5));
    for (const double q : {0.0, 0.5, 1.0}) {
        EXPECT_GE(damaged.quantile(q), Duration{});
    }
    EXPECT_EQ(damaged.counts().size(), kLatencyBuckets);
}

TEST(LatencyQuantiles, beyond_the_last_bucket_are_the_maximum) {
    shm::LatencyCounts counts{};
    const std::uint64_t hours = 7'200'000'000'000;
    shm::add_latency(counts, hours, 1);
    EXPECT_EQ(of(counts).quantile(0.5), 2h);
}

TEST(LatencyCounts, threads_that_add_at_once_lose_nothing) {
    constexpr std::uint64_t kEach = 100'000;
    shm::LatencyCounts counts{};
    std::vector<std::thread> threads;
    for (std::uint64_t t = 0; t < 4; ++t) {
        threads.emplace_back([&counts, t] {
            for (std::uint64_t i = 0; i < kEach; ++i) {
                shm::add_latency(counts, (i % 64) * 1'000 + t, 1);
            }
        });
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
    EXPECT_EQ(of(counts).count(), 4 * kEach);
    EXPECT_EQ(of(counts).max(), 63'003ns);
}

// The counts are those of all calls, though one in 16 is measured.
TEST(CallMeasure, one_in_sixteen_stands_for_sixteen) {
    shm::LatencyCounts counts{};
    detail::CallMeasure measure(&counts);
    shm::ThreadContext context;
    context.measure_gap = 4711;
    context.call_slept = false;
    std::uint64_t sum = 0;
    std::uint64_t measured = 0;
    constexpr std::uint64_t kCalls = 1'000'000;
    for (std::uint64_t i = 0; i < kCalls; ++i) {
        const std::uint32_t weight = measure.weight(context);
        ASSERT_EQ(weight, i < detail::kMeasureFirst ? 1U : weight);
        sum += weight;
        measured += weight != 0 ? 1U : 0U;
    }
    EXPECT_NEAR(static_cast<double>(sum), kCalls, kCalls / 100.0);
    EXPECT_NEAR(static_cast<double>(measured), kCalls / 16.0, kCalls / 1000.0);
    context.call_slept = true;
    EXPECT_EQ(measure.weight(context), 1U) << "behind one that slept, each";
}

TEST(CallMeasure, of_kinds_of_calls_that_take_turns_none_is_left_out) {
    shm::LatencyCounts counts{};
    detail::CallMeasure measure(&counts);
    shm::ThreadContext context;
    std::vector<std::uint64_t> sums(6);
    constexpr std::uint64_t kCalls = 600'000;
    for (std::uint64_t i = 0; i < kCalls; ++i) {
        context.call_slept = false;
        sums[i % sums.size()] += measure.weight(context);
    }
    for (const std::uint64_t sum : sums) {
        EXPECT_NEAR(static_cast<double>(sum), 100'000, 5'000);
    }
}

class FunctionLatency : public ::testing::Test {
  protected:
    Latency latency() { return client_.function_status("f").value().latency; }
    static Message order() { return Message::text("order", "2 espressos"); }
    test::ScratchDomain domain_;
    Server server_ = domain_.open();
    Client client_ = connect(domain_.uri()).value();
};

TEST_F(FunctionLatency, is_that_of_calls_that_were_answered_or_waited_for_in_vain) {
    const Function served =
        server_
            .serve("f",
                   [](const Message& request) -> Result<Message> {
                       std::this_thread::sleep_for(request.text() == "slow" ? 2s : 2ms);
                       if (request.text() == "fail") {
                           return Error{Status::server_error, 0, "no"};
                       }
                       return request;
                   })
            .value();
    EXPECT_EQ(latency().count(), 0U);
    EXPECT_EQ(latency().max(), Duration{});
    ASSERT_TRUE(client_.send("f", order(), 10s));
    ASSERT_EQ(client_.send("f", Message::text("order", "fail"), 10s).status(),
              Status::handler_error);
    ASSERT_TRUE(client_.send_async("f", order(), 10s).get(10s));
    ASSERT_TRUE(server_.send("f", order(), 10s)) << "of every caller";
    EXPECT_EQ(latency().count(), 4U);
    EXPECT_GE(latency().quantile(0.01), 2ms);
    EXPECT_LT(latency().max(), 10s);
    ASSERT_EQ(client_.send("f", Message::text("order", "slow"), 20ms).status(), Status::timed_out);
    EXPECT_EQ(latency().count(), 5U) << "it counts as long as its caller waited";
    EXPECT_GE(latency().max(), 20ms);
    // Refused, cancelled, one-way: nobody learns how long the function takes.
    ASSERT_TRUE(client_.send_oneway("f", order()));
    EXPECT_FALSE(client_.send("nobody", order(), 10s));
    std::stop_source stop;
    stop.request_stop();
    EXPECT_EQ(client_.send("f", order(), 10s, {.stop = stop.get_token()}).status(),
              Status::cancelled);
    EXPECT_EQ(latency().count(), 5U);
    EXPECT_EQ(served.status()->latency.count(), 5U) << "the server sees the same";
}

TEST_F(FunctionLatency, begins_anew_with_the_functions_next_life) {
    const auto echo = [](const Message& request) { return request; };
    Function served = server_.serve("f", echo).value();
    for (int i = 0; i < 100; ++i) {
        ASSERT_TRUE(client_.send("f", order(), 10s));
    }
    EXPECT_EQ(latency().count(), 100U);
    served.stop();
    served = server_.serve("f", echo).value();
    EXPECT_EQ(latency().count(), 0U);
    ASSERT_TRUE(client_.send("f", order(), 10s));
    EXPECT_EQ(latency().count(), 1U);
    EXPECT_TRUE(server_.verify()->problems.empty());
}

}  // namespace
}  // namespace telpher
