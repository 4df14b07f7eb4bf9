// Goal: the budget of retries and the circuit breaker of one destination, at exact times.

#include "src/client/retry_state.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace telpher::detail {
namespace {

using namespace std::chrono_literals;
using State = RetryDestination::State;
using Admission = RetryDestination::Admission;

constexpr CircuitBreaker kBreaker{.failures_max = 3, .open_for = 1s};

void fail(RetryDestination& destination, int times, Duration now) {
    for (int i = 0; i < times; ++i) {
        ASSERT_EQ(destination.admit(now), Admission::admitted);
        destination.tell(kBreaker, Health::bad, false, now);
    }
}

TEST(RetryBudget, is_full_at_first_and_then_a_part_of_the_calls) {
    RetryDestination destination("function 'f'");
    const RetryBudget budget{.ratio = 0.1, .burst = 3};
    for (int i = 0; i < 3; ++i) {
        EXPECT_TRUE(destination.withdraw(budget));
    }
    EXPECT_FALSE(destination.withdraw(budget));
    int retries = 0;
    for (int call = 0; call < 1000; ++call) {
        destination.deposit(budget);
        retries += destination.withdraw(budget) ? 1 : 0;
    }
    EXPECT_EQ(retries, 100) << "sums of 0.1 are exact";
}

TEST(RetryBudget, holds_no_more_than_its_burst) {
    RetryDestination destination("function 'f'");
    const RetryBudget budget{.ratio = 1, .burst = 2};
    for (int call = 0; call < 1000; ++call) {
        destination.deposit(budget);
    }
    EXPECT_TRUE(destination.withdraw(budget));
    EXPECT_TRUE(destination.withdraw(budget));
    EXPECT_FALSE(destination.withdraw(budget));
    const RetryBudget none{.ratio = 0, .burst = 1};
    destination.deposit(none);
    EXPECT_FALSE(destination.withdraw(none));
}

TEST(RetryBudget, threads_take_each_token_once) {
    RetryDestination destination("function 'f'");
    const RetryBudget budget{.ratio = 0.5, .burst = 1000};
    std::atomic<int> taken{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&] {
            for (int i = 0; i < 2000; ++i) {
                taken += destination.withdraw(budget) ? 1 : 0;
            }
        });
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
    EXPECT_EQ(taken, 1000);
}

TEST(CircuitBreaker, opens_after_so_many_failures_in_a_row) {
    RetryDestination destination("function 'f'");
    fail(destination, 2, 0s);
    EXPECT_EQ(destination.state(), State::closed);
    ASSERT_EQ(destination.admit(0s), Admission::admitted);
    destination.tell(kBreaker, Health::good, false, 0s);
    fail(destination, 2, 0s);
    EXPECT_EQ(destination.state(), State::closed) << "not in a row";
    fail(destination, 1, 0s);
    EXPECT_EQ(destination.state(), State::open);
    EXPECT_EQ(destination.admit(0s), Admission::refused);
    EXPECT_EQ(destination.admit(999'999'999ns), Admission::refused);
}

TEST(CircuitBreaker, what_tells_nothing_of_the_destination_does_not_count) {
    RetryDestination destination("function 'f'");
    for (int i = 0; i < 10; ++i) {
        destination.tell(kBreaker, Health::unknown, false, 0s);
    }
    EXPECT_EQ(destination.state(), State::closed);
    fail(destination, 2, 0s);
    destination.tell(kBreaker, Health::unknown, false, 0s);
    fail(destination, 1, 0s);
    EXPECT_EQ(destination.state(), State::open) << "nor does it interrupt a row";
}

TEST(CircuitBreaker, lets_one_probe_through_that_closes_or_opens_it) {
    RetryDestination destination("function 'f'");
    fail(destination, 3, 0s);
    EXPECT_EQ(destination.admit(1s), Admission::probe);
    EXPECT_EQ(destination.state(), State::half_open);
    EXPECT_EQ(destination.admit(1s), Admission::refused) << "one at a time";
    EXPECT_EQ(destination.admit(1h), Admission::refused);
    destination.tell(kBreaker, Health::bad, true, 1500ms);
    EXPECT_EQ(destination.state(), State::open);
    EXPECT_EQ(destination.admit(2499ms), Admission::refused);
    EXPECT_EQ(destination.admit(2500ms), Admission::probe);
    destination.tell(kBreaker, Health::good, true, 3s);
    EXPECT_EQ(destination.state(), State::closed);
    fail(destination, 2, 3s);
    EXPECT_EQ(destination.state(), State::closed) << "it counts anew";
}

TEST(CircuitBreaker, a_probe_that_tells_nothing_makes_room_for_the_next) {
    RetryDestination destination("function 'f'");
    fail(destination, 3, 0s);
    EXPECT_EQ(destination.admit(1s), Admission::probe);
    destination.tell(kBreaker, Health::unknown, true, 1s);
    EXPECT_EQ(destination.admit(1s), Admission::probe);
}

TEST(CircuitBreaker, those_under_way_when_it_opens_are_heard) {
    RetryDestination destination("function 'f'");
    ASSERT_EQ(destination.admit(0s), Admission::admitted);
    ASSERT_EQ(destination.admit(0s), Admission::admitted);
    fail(destination, 3, 0s);
    destination.tell(kBreaker, Health::bad, false, 500ms);
    EXPECT_EQ(destination.admit(1s), Admission::probe) << "a late failure does not prolong it";
    destination.tell(kBreaker, Health::unknown, true, 1s);
    destination.tell(kBreaker, Health::good, false, 1s);
    EXPECT_EQ(destination.state(), State::closed);
}

TEST(CircuitBreaker, its_error_did_not_happen_and_tells_when_to_come_again) {
    RetryDestination destination("function 'brew'");
    fail(destination, 3, 0s);
    const Error error = destination.refusal(160ms);
    EXPECT_EQ(error.status, Status::overloaded);
    EXPECT_EQ(error.outcome(), Outcome::did_not_happen);
    EXPECT_EQ(error.detail,
              "the circuit breaker of function 'brew' is open after 3 failures in a row; it lets a "
              "probe through in 840 ms; not sent");
    ASSERT_EQ(destination.admit(1s), Admission::probe);
    EXPECT_NE(destination.refusal(1s).detail.find("a probe is on its way"), std::string::npos);
}

TEST(CircuitBreaker, of_many_threads_one_is_the_probe) {
    RetryDestination destination("function 'f'");
    fail(destination, 3, 0s);
    for (int round = 1; round <= 50; ++round) {
        const Duration now = round * 2s;
        std::atomic<int> probes{0};
        std::vector<std::thread> threads;
        for (int t = 0; t < 4; ++t) {
            threads.emplace_back(
                [&] { probes += destination.admit(now) == Admission::probe ? 1 : 0; });
        }
        for (std::thread& thread : threads) {
            thread.join();
        }
        ASSERT_EQ(probes, 1);
        destination.tell(kBreaker, Health::bad, true, now);
    }
}

TEST(CircuitBreaker, time_at_the_end_of_the_clock_does_not_overflow) {
    RetryDestination destination("function 'f'");
    fail(destination, 3, Duration::max() - 1ns);
    EXPECT_EQ(destination.admit(Duration::max() - 1ns), Admission::refused);
}

}  // namespace
}  // namespace telpher::detail
