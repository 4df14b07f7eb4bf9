// Goal: what a policy may say, and which failures it retries: for every status and kind of operation.

#include "telpher/telpher.hpp"

#include "src/client/retry_rules.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>
#include <set>

namespace telpher {
namespace {

using namespace std::chrono_literals;
using detail::Health;
using detail::retryable;
using detail::RetryKind;

TEST(RetryPolicy, defaults_are_allowed_and_what_is_absurd_is_refused_by_name) {
    EXPECT_TRUE(RetryPolicy{}.check());
    constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
    constexpr double kInfinite = std::numeric_limits<double>::infinity();
    struct Absurd {
        RetryPolicy policy;
        std::string_view field;
        std::string_view value;
        std::string_view allowed;
    };
    const std::vector<Absurd> all{
        {{.attempts_max = 0}, "attempts_max", "0", "1..1000"},
        {{.attempts_max = 1001}, "attempts_max", "1001", "1..1000"},
        {{.base = -1ns}, "base", "-1 ns", "1..86400000000000 ns"},
        {{.base = 0ns}, "base", "0 ns", "1..86400000000000 ns"},
        {{.base = 25h, .cap = 26h}, "base", "90000000000000 ns", "1..86400000000000 ns"},
        {{.base = Duration::min()}, "base", "-9223372036854775808 ns", "1..86400000000000 ns"},
        {{.factor = 0.99}, "factor", "0.99", "1..100"},
        {{.factor = 101}, "factor", "101", "1..100"},
        {{.factor = kNan}, "factor", "nan", "1..100"},
        {{.factor = kInfinite}, "factor", "inf", "1..100"},
        {{.factor = -kInfinite}, "factor", "-inf", "1..100"},
        {{.base = 2s, .cap = 1s}, "cap", "1000000000 ns", "2000000000..86400000000000 ns"},
        {{.cap = Duration::max()}, "cap", "9223372036854775807 ns", "50000000..86400000000000 ns"},
        {{.jitter = Jitter{5}}, "jitter", "5", "range (4)"},
        {{.jitter = Jitter::range, .range_high = kNan}, "range_high", "nan", "0..100"},
        {{.jitter = Jitter::range, .range_low = 2, .range_high = 1}, "range_low", "2", "0..1"},
        {{.jitter = Jitter::range, .range_low = -1}, "range_low", "-1", "0..1.25"},
        {{.deadline = 0ns}, "deadline", "0 ns", "1..31536000000000000 ns"},
        {{.deadline = -5s}, "deadline", "-5000000000 ns", "1..31536000000000000 ns"},
        {{.budget = RetryBudget{.ratio = 1.5}}, "budget.ratio", "1.5", "0..1"},
        {{.budget = RetryBudget{.ratio = -0.1}}, "budget.ratio", "-0.1", "0..1"},
        {{.budget = RetryBudget{.ratio = kNan}}, "budget.ratio", "nan", "0..1"},
        {{.budget = RetryBudget{.burst = 0}}, "budget.burst", "0", "1..1000"},
        {{.breaker = CircuitBreaker{.failures_max = 0}}, "breaker.failures_max", "0", "1..1000000"},
        {{.breaker = CircuitBreaker{.open_for = -1s}}, "breaker.open_for", "-1000000000 ns", "1.."},
        {{.retry_on = StatusSet{Status::bad_request}}, "retry_on", "bad_request", "may change"},
    };
    for (const Absurd& absurd : all) {
        const auto checked = absurd.policy.check();
        ASSERT_EQ(checked.status(), Status::bad_request) << absurd.field << " " << absurd.value;
        const std::string& text = checked.error().detail;
        EXPECT_TRUE(text.starts_with("retry." + std::string(absurd.field) + " ")) << text;
        EXPECT_NE(text.find(absurd.value), std::string::npos) << text;
        EXPECT_NE(text.find(absurd.allowed), std::string::npos) << text;
    }
    EXPECT_TRUE((RetryPolicy{.range_low = kNan, .range_high = -1}.check())) << "not its jitter";
}

TEST(RetryPolicy, the_ends_of_the_ranges_are_allowed) {
    EXPECT_TRUE((RetryPolicy{.attempts_max = 1000,
                             .base = 24h,
                             .factor = 100,
                             .cap = 24h,
                             .jitter = Jitter::range,
                             .range_low = 0,
                             .range_high = 100,
                             .deadline = 24h * 365,
                             .budget = RetryBudget{.ratio = 1, .burst = 1000},
                             .breaker = CircuitBreaker{.failures_max = 1'000'000, .open_for = 24h}}
                     .check()));
    EXPECT_TRUE((RetryPolicy{.attempts_max = 1,
                             .base = 1ns,
                             .factor = 1,
                             .cap = 1ns,
                             .deadline = 1ns,
                             .budget = RetryBudget{.ratio = 0, .burst = 1},
                             .breaker = CircuitBreaker{.failures_max = 1, .open_for = 1ns}}
                     .check()));
    EXPECT_TRUE((RetryPolicy{.budget = {}, .breaker = {}}.check()));
}

TEST(RetryPolicy, a_set_holds_what_it_was_given) {
    for (const StatusInfo& info : all_statuses()) {
        EXPECT_TRUE(StatusSet{info.status}.contains(info.status));
        EXPECT_FALSE(StatusSet{}.contains(info.status));
    }
    EXPECT_FALSE(StatusSet{Status{200}}.contains(Status{200})) << "not known";
}

// The table of every status. What is not in it is never retried by default.
TEST(RetryRules, of_every_status_by_default) {
    using Set = std::set<Status>;
    const Set passes{Status::queue_full,
                     Status::timed_out,
                     Status::server_error,
                     Status::peer_died,
                     Status::disconnected,
                     Status::out_of_memory,
                     Status::overloaded};
    const Set for_connect{Status::domain_not_found,
                          Status::timed_out,
                          Status::disconnected,
                          Status::out_of_memory,
                          Status::overloaded};
    // Of a call: may have run. Of the others: only what a lost connection or a failed server leave open.
    const Set open_for_call{Status::timed_out,
                            Status::server_error,
                            Status::peer_died,
                            Status::disconnected,
                            Status::out_of_memory};
    const Set open_for_others{Status::server_error, Status::peer_died, Status::disconnected};
    const RetryPolicy policy;
    for (const StatusInfo& info : all_statuses()) {
        const Error error{info.status, 0, {}};
        const bool passing = passes.contains(info.status);
        EXPECT_EQ(retryable(RetryKind::call, error, policy, false),
                  passing && !open_for_call.contains(info.status))
            << info.name;
        EXPECT_EQ(retryable(RetryKind::call, error, policy, true), passing) << info.name;
        for (const RetryKind kind : {RetryKind::offer, RetryKind::publish, RetryKind::oneway}) {
            EXPECT_EQ(retryable(kind, error, policy, false),
                      passing && !open_for_others.contains(info.status))
                << info.name;
            EXPECT_EQ(retryable(kind, error, policy, true), passing) << info.name;
        }
        EXPECT_EQ(retryable(RetryKind::connect, error, policy, false),
                  for_connect.contains(info.status))
            << info.name;
    }
    EXPECT_FALSE(retryable(RetryKind::call, {Status{200}, 0, {}}, policy, true)) << "not known";
}

TEST(RetryRules, what_the_error_knows_goes_before_what_its_status_says) {
    const RetryPolicy policy;
    Error not_sent{Status::disconnected, 0, {}, Outcome::did_not_happen};
    EXPECT_TRUE(retryable(RetryKind::call, not_sent, policy, false));
    EXPECT_TRUE(retryable(RetryKind::offer, not_sent, policy, false));
    Error not_begun{Status::timed_out, 0, {}, Outcome::did_not_happen};
    EXPECT_TRUE(retryable(RetryKind::call, not_begun, policy, false));
    Error response{Status::out_of_memory, 0, {}, Outcome::happened};
    EXPECT_FALSE(retryable(RetryKind::call, response, policy, false));
    EXPECT_TRUE(retryable(RetryKind::call, response, policy, true));
}

TEST(RetryRules, a_set_of_ones_own_replaces_the_statuses_and_not_the_caution) {
    const RetryPolicy policy{.retry_on =
                                 StatusSet{Status::function_not_found, Status::handler_error}};
    EXPECT_TRUE(retryable(RetryKind::call, {Status::function_not_found, 0, {}}, policy, false));
    EXPECT_FALSE(retryable(RetryKind::call, {Status::overloaded, 0, {}}, policy, false));
    EXPECT_FALSE(retryable(RetryKind::call, {Status::handler_error, 0, {}}, policy, false))
        << "it may have done half of its work";
    EXPECT_TRUE(retryable(RetryKind::call, {Status::handler_error, 0, {}}, policy, true));
}

// Whatever a set says: these are the same at every attempt. Each status is in one of the two groups.
TEST(RetryRules, some_statuses_are_never_retried) {
    const std::set<Status> never{Status::ok,
                                 Status::none,
                                 Status::duplicate,
                                 Status::closed,
                                 Status::gap,
                                 Status::cancelled,
                                 Status::bad_request,
                                 Status::domain_removed,
                                 Status::mismatch,
                                 Status::message_too_large,
                                 Status::idempotency_conflict,
                                 Status::forked,
                                 Status::corrupt,
                                 Status::version_mismatch};
    for (const StatusInfo& info : all_statuses()) {
        const RetryPolicy asked{.retry_on = StatusSet{info.status}};
        const bool refused = never.contains(info.status);
        EXPECT_EQ(asked.check().status(), refused ? Status::bad_request : Status::ok) << info.name;
        EXPECT_NE(retryable(RetryKind::call, {info.status, 0, {}}, asked, true), refused)
            << info.name;
    }
}

TEST(RetryRules, only_signs_of_a_sick_destination_count_for_the_breaker) {
    const std::set<Status> bad{
        Status::peer_died, Status::disconnected, Status::overloaded, Status::server_error};
    const std::set<Status> good{Status::ok, Status::handler_error, Status::queue_full};
    for (const StatusInfo& info : all_statuses()) {
        for (const RetryKind kind : {RetryKind::call, RetryKind::offer, RetryKind::publish}) {
            Health expected = bad.contains(info.status)    ? Health::bad
                              : good.contains(info.status) ? Health::good
                                                           : Health::unknown;
            if (info.status == Status::timed_out) {
                expected = kind == RetryKind::call ? Health::bad : Health::good;
            }
            EXPECT_EQ(detail::health_of(kind, info.status), expected) << info.name;
        }
    }
}

TEST(RetryRules, ends_have_names) {
    EXPECT_EQ(to_string(RetryEnd::succeeded), "succeeded");
    EXPECT_EQ(to_string(RetryEnd::budget), "budget");
    EXPECT_EQ(to_string(RetryEnd{99}), "unknown");
}

}  // namespace
}  // namespace telpher
