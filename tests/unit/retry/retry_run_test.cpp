// Goal: how many attempts are made, when, how long each may take, and what is answered at the end.
// Method: step by step with simulated time; nothing sleeps.

#include "src/client/retry_run.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace telpher::detail {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t kHighest = ~std::uint64_t{0};
const Error kFull{Status::queue_full, 0, {}};

RetryPolicy plain() {
    return {.attempts_max = 5,
            .base = 100ms,
            .factor = 2,
            .cap = 10s,
            .jitter = Jitter::none,
            .deadline = 1h,
            .budget = {},
            .breaker = {}};
}

bool contains(const Error& error, std::string_view text) {
    return error.detail.find(text) != std::string::npos;
}

TEST(RetryRun, makes_so_many_attempts_with_the_waits_of_its_policy) {
    const RetryPolicy policy = plain();
    RetryReport report;
    RetryRun run(policy, {.kind = RetryKind::offer, .timeout = 1s, .report = &report}, nullptr, 0s);
    Duration now = 0s;
    for (const Duration wait : {100ms, 200ms, 400ms, 800ms}) {
        ASSERT_TRUE(run.admit(now));
        EXPECT_EQ(run.timeout(now), 1s);
        now += 10ms;
        EXPECT_EQ(run.failed(kFull, now, kHighest), std::optional<Duration>(wait));
        now += wait;
    }
    ASSERT_TRUE(run.admit(now));
    EXPECT_EQ(run.attempt(), 5U);
    now += 10ms;
    EXPECT_EQ(run.failed(kFull, now, kHighest), std::nullopt);
    EXPECT_EQ(run.end(), RetryEnd::attempts);
    const Error error = std::move(run).error(now);
    EXPECT_EQ(error.status, Status::queue_full);
    EXPECT_EQ(error.outcome(), Outcome::did_not_happen);
    EXPECT_EQ(error.detail, "5 attempts in 1550 ms, attempts_max is 5");
    EXPECT_EQ(report.attempts, 5U);
    EXPECT_EQ(report.took, 1550ms);
    EXPECT_EQ(report.end, RetryEnd::attempts);
    ASSERT_EQ(report.failures.size(), 5U);
    EXPECT_EQ(report.failures[0].began, 0ms);
    EXPECT_EQ(report.failures[0].waited, 0ms);
    EXPECT_EQ(report.failures[4].began, 1540ms);
    EXPECT_EQ(report.failures[4].waited, 800ms);
    EXPECT_EQ(report.failures[2].error, kFull);
}

TEST(RetryRun, ends_before_a_wait_that_its_deadline_would_cut) {
    RetryPolicy policy = plain();
    policy.deadline = 350ms;
    RetryRun run(policy, {.kind = RetryKind::offer, .timeout = 1s}, nullptr, 0s);
    ASSERT_TRUE(run.admit(0s));
    EXPECT_EQ(run.timeout(0s), 350ms) << "an attempt ends with the deadline";
    EXPECT_EQ(run.failed(kFull, 0s, kHighest), std::optional<Duration>(100ms));
    ASSERT_TRUE(run.admit(100ms));
    EXPECT_EQ(run.timeout(100ms), 250ms);
    EXPECT_EQ(run.failed(kFull, 149ms, kHighest), std::optional<Duration>(200ms));
    ASSERT_TRUE(run.admit(349ms));
    EXPECT_EQ(run.failed(kFull, 349ms, kHighest), std::nullopt) << "400 ms more do not fit";
    EXPECT_EQ(run.end(), RetryEnd::deadline);
    EXPECT_TRUE(contains(std::move(run).error(349ms),
                         "3 attempts in 349 ms, no further one fits into the deadline"));
}

TEST(RetryRun, waits_as_long_as_the_other_side_says_and_then_its_own_time) {
    const RetryPolicy policy = plain();
    Error busy{Status::overloaded};
    busy.retry_after = 20s;  // more than `cap`
    RetryRun run(policy, {.kind = RetryKind::call, .timeout = 1s}, nullptr, 0s);
    ASSERT_TRUE(run.admit(0s));
    EXPECT_EQ(run.failed(busy, 0s, kHighest), std::optional<Duration>(20100ms));
    ASSERT_TRUE(run.admit(30s));
    busy.retry_after = -1s;
    EXPECT_EQ(run.failed(busy, 30s, kHighest), std::optional<Duration>(200ms)) << "nonsense";
    ASSERT_TRUE(run.admit(31s));
    busy.retry_after = 1h;
    EXPECT_EQ(run.failed(busy, 31s, kHighest), std::nullopt) << "that is behind the deadline";
    EXPECT_EQ(run.end(), RetryEnd::deadline);
    EXPECT_EQ(std::move(run).error(31s).retry_after, 1h);
}

TEST(RetryRun, a_wait_that_ends_at_the_deadline_is_not_begun) {
    RetryPolicy policy = plain();
    policy.deadline = 100ms;
    RetryRun run(policy, {.kind = RetryKind::offer}, nullptr, 0s);
    ASSERT_TRUE(run.admit(0s));
    EXPECT_EQ(run.failed(kFull, 0s, kHighest), std::nullopt);
    EXPECT_EQ(run.end(), RetryEnd::deadline);
}

TEST(RetryRun, who_slept_over_the_deadline_makes_no_attempt) {
    RetryPolicy policy = plain();
    policy.deadline = 150ms;
    RetryRun run(policy, {.kind = RetryKind::offer}, nullptr, 0s);
    ASSERT_TRUE(run.admit(0s));
    ASSERT_TRUE(run.failed(kFull, 0s, kHighest));
    EXPECT_FALSE(run.admit(150ms));
    EXPECT_EQ(run.end(), RetryEnd::deadline);
    EXPECT_EQ(run.attempt(), 1U);
}

TEST(RetryRun, at_the_end_of_the_clock_does_not_overflow) {
    RetryPolicy policy = plain();
    policy.deadline = 24h * 365;
    RetryRun run(policy, {.kind = RetryKind::offer, .timeout = 1s}, nullptr, Duration::max() - 1ms);
    ASSERT_TRUE(run.admit(Duration::max() - 1ms));
    EXPECT_EQ(run.timeout(Duration::max() - 1ms), 1ms);
    EXPECT_EQ(run.failed(kFull, Duration::max() - 1ms, kHighest), std::nullopt);
}

TEST(RetryRun, what_is_not_to_be_retried_is_answered_as_it_is) {
    const RetryPolicy policy = plain();
    RetryRun run(policy, {.kind = RetryKind::call, .timeout = 1s}, nullptr, 0s);
    ASSERT_TRUE(run.admit(0s));
    const Error died{Status::peer_died, 0, "the process that ran it died"};
    EXPECT_EQ(run.failed(died, 5ms, kHighest), std::nullopt);
    EXPECT_EQ(run.end(), RetryEnd::not_retryable);
    EXPECT_EQ(std::move(run).error(5ms), died);
}

// The caller decides by the outcome: it must be that of all attempts.
TEST(RetryRun, a_last_attempt_that_did_not_happen_hides_none_that_may_have) {
    RetryPolicy policy = plain();
    policy.attempts_max = 3;
    RetryRun run(policy, {.kind = RetryKind::call, .idempotent = true}, nullptr, 0s);
    ASSERT_TRUE(run.admit(0s));
    ASSERT_TRUE(run.failed({Status::overloaded, 0, "full"}, 0s, kHighest));
    ASSERT_TRUE(run.admit(0s));
    ASSERT_TRUE(run.failed({Status::timed_out, 0, "had begun"}, 0s, kHighest));
    ASSERT_TRUE(run.admit(0s));
    EXPECT_FALSE(run.failed({Status::overloaded, 0, "full"}, 0s, kHighest));
    const Error error = std::move(run).error(1s);
    EXPECT_EQ(error.status, Status::timed_out);
    EXPECT_EQ(error.outcome(), Outcome::may_have_happened);
    EXPECT_EQ(error.detail,
              "had begun; 3 attempts in 1000 ms, the last one overloaded, attempts_max is 3");
}

TEST(RetryRun, an_offer_that_timed_out_at_every_attempt_did_not_happen) {
    RetryPolicy policy = plain();
    policy.attempts_max = 2;
    RetryRun run(policy, {.kind = RetryKind::offer}, nullptr, 0s);
    for (int i = 0; i < 2; ++i) {
        ASSERT_TRUE(run.admit(0s));
        EXPECT_EQ(run.failed({Status::timed_out, 0, {}}, 0s, kHighest).has_value(), i == 0);
    }
    EXPECT_EQ(std::move(run).error(0s).outcome(), Outcome::did_not_happen);
}

TEST(RetryRun, success_is_reported_with_the_failures_before_it) {
    const RetryPolicy policy = plain();
    RetryReport report;
    report.attempts = 77;
    RetryRun run(policy, {.kind = RetryKind::offer, .report = &report}, nullptr, 1s);
    EXPECT_EQ(report.attempts, 0U) << "of this operation alone";
    ASSERT_TRUE(run.admit(1s));
    ASSERT_TRUE(run.failed(kFull, 1s, kHighest));
    ASSERT_TRUE(run.admit(1100ms));
    run.succeeded(1150ms);
    EXPECT_EQ(report.attempts, 2U);
    EXPECT_EQ(report.failures.size(), 1U);
    EXPECT_EQ(report.took, 150ms);
    EXPECT_EQ(report.end, RetryEnd::succeeded);
}

TEST(RetryRun, in_a_chain_nothing_is_retried) {
    const RetryPolicy policy = plain();
    RetryRun run(policy, {.kind = RetryKind::offer}, nullptr, 0s, true);
    ASSERT_TRUE(run.admit(0s));
    EXPECT_FALSE(run.failed(kFull, 0s, kHighest));
    EXPECT_EQ(run.end(), RetryEnd::chain);
    EXPECT_TRUE(contains(std::move(run).error(0s), "a caller further up retries"));
}

TEST(RetryRun, cancelled_while_it_waited_says_whether_it_may_have_happened) {
    const RetryPolicy policy = plain();
    for (const bool may : {false, true}) {
        RetryRun run(policy, {.kind = RetryKind::call, .idempotent = true}, nullptr, 0s);
        ASSERT_TRUE(run.admit(0s));
        ASSERT_TRUE(
            run.failed({may ? Status::peer_died : Status::overloaded, 0, {}}, 0s, kHighest));
        run.cancelled(50ms);
        EXPECT_EQ(run.end(), RetryEnd::cancelled);
        const Error error = std::move(run).error(50ms);
        EXPECT_EQ(error.status, Status::cancelled);
        EXPECT_EQ(error.outcome(), may ? Outcome::may_have_happened : Outcome::did_not_happen);
    }
}

TEST(RetryRun, an_empty_budget_ends_it_and_a_deadline_takes_no_token) {
    RetryPolicy policy = plain();
    policy.budget = RetryBudget{.ratio = 0, .burst = 2};
    RetryDestination destination("queue 'q'");
    RetryPolicy hasty = policy;
    hasty.deadline = 10ms;
    RetryRun late(hasty, {.kind = RetryKind::offer}, &destination, 0s);
    ASSERT_TRUE(late.admit(0s));
    ASSERT_FALSE(late.failed(kFull, 0s, kHighest));
    EXPECT_EQ(late.end(), RetryEnd::deadline);
    RetryRun run(policy, {.kind = RetryKind::offer}, &destination, 0s);
    Duration now = 0s;
    for (int i = 0; i < 2; ++i) {
        ASSERT_TRUE(run.admit(now));
        const auto wait = run.failed(kFull, now, kHighest);
        ASSERT_TRUE(wait);
        now += *wait;
    }
    ASSERT_TRUE(run.admit(now));
    EXPECT_FALSE(run.failed(kFull, now, kHighest));
    EXPECT_EQ(run.end(), RetryEnd::budget);
    EXPECT_TRUE(contains(std::move(run).error(now), "3 attempts in 300 ms, the retry budget"));
}

TEST(RetryRun, an_open_breaker_answers_at_once_and_stops_retries) {
    RetryPolicy policy = plain();
    policy.breaker = CircuitBreaker{.failures_max = 2, .open_for = 1s};
    const Error overloaded{Status::overloaded, 0, "no room"};
    RetryDestination destination("function 'f'");
    const RetryTask task{.kind = RetryKind::call};
    RetryRun first(policy, task, &destination, 0s);
    ASSERT_TRUE(first.admit(0s));
    ASSERT_TRUE(first.failed(overloaded, 0s, kHighest));
    ASSERT_TRUE(first.admit(100ms));
    ASSERT_TRUE(first.failed(overloaded, 100ms, kHighest));
    EXPECT_FALSE(first.admit(300ms));
    EXPECT_EQ(first.end(), RetryEnd::breaker);
    EXPECT_EQ(std::move(first).error(300ms).detail,
              "no room; 2 attempts in 300 ms, then the circuit breaker opened");
    RetryReport report;
    RetryRun refused(policy, {.kind = RetryKind::call, .report = &report}, &destination, 300ms);
    EXPECT_FALSE(refused.admit(300ms));
    const Error error = std::move(refused).error(300ms);
    EXPECT_EQ(error.status, Status::overloaded);
    EXPECT_EQ(error.outcome(), Outcome::did_not_happen);
    EXPECT_TRUE(contains(error, "lets a probe through in 800 ms"));
    EXPECT_EQ(report.attempts, 0U);
    EXPECT_EQ(report.end, RetryEnd::breaker);
    RetryRun probe(policy, task, &destination, 1100ms);
    ASSERT_TRUE(probe.admit(1100ms));
    probe.succeeded(1200ms);
    EXPECT_EQ(destination.state(), RetryDestination::State::closed);
}

TEST(RetryRun, a_probe_that_was_never_ended_makes_room_for_the_next) {
    RetryPolicy policy = plain();
    policy.breaker = CircuitBreaker{.failures_max = 1, .open_for = 1s};
    RetryDestination destination("function 'f'");
    RetryRun first(policy, {.kind = RetryKind::call}, &destination, 0s);
    ASSERT_TRUE(first.admit(0s));
    ASSERT_TRUE(first.failed({Status::overloaded, 0, {}}, 0s, kHighest));
    {
        RetryRun thrown(policy, {.kind = RetryKind::call}, &destination, 1s);
        ASSERT_TRUE(thrown.admit(1s));
    }
    RetryRun next(policy, {.kind = RetryKind::call}, &destination, 1s);
    EXPECT_TRUE(next.admit(1s));
}

}  // namespace
}  // namespace telpher::detail
