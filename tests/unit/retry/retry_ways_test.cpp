// Goal:   retries of real operations, the same over every way to a domain.
// Method: a clock that passes when somebody sleeps, and mends what is broken meanwhile: exact, without
//         waiting.

#include "tests/unit/support/clock.hpp"
#include "tests/unit/support/messages.hpp"
#include "tests/unit/support/retry_clock.hpp"
#include "tests/unit/support/ways.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <latch>
#include <mutex>
#include <thread>
#include <vector>

namespace telpher {
namespace {

using namespace std::chrono_literals;
using test::FakeClock;

using test::order;
using test::plain;

class RetryWays : public test::Ways {
  protected:
    [[nodiscard]] Client client_with(const RetryPolicy& policy) const {
        ConnectOptions options = how();
        options.retry = policy;
        return connect(uri(), options).value();
    }
};

TEST_P(RetryWays, a_call_of_a_server_that_fails_n_times_succeeds_at_the_next_attempt) {
    std::mutex mutex;
    std::vector<std::pair<std::uint32_t, bool>> seen;
    const auto flaky = [&](const Message& request) -> Result<Message> {
        const std::lock_guard hold(mutex);
        seen.emplace_back(request.attempt(), request.no_retry());
        if (seen.size() < 4) {
            return Error{Status::server_error, 0, "not yet"};
        }
        return request;
    };
    const Function served = server.serve("flaky", flaky).value();
    RetryPolicy policy = plain();
    policy.retry_on = StatusSet{Status::handler_error};
    RetryReport report;
    const auto reply = client.send(
        "flaky", order(), kSoon, {.retry = policy, .idempotent = true, .report = &report});
    ASSERT_TRUE(reply) << to_string(reply.error());
    EXPECT_EQ(reply->text(), "2 espressos");
    EXPECT_EQ(reply->attempt(), 1U) << "the marks are the request's, also of one that is returned";
    EXPECT_FALSE(reply->no_retry());
    EXPECT_EQ(
        seen,
        (std::vector<std::pair<std::uint32_t, bool>>{{1, true}, {2, true}, {3, true}, {4, true}}));
    EXPECT_EQ(report.attempts, 4U);
    ASSERT_EQ(report.failures.size(), 3U);
    EXPECT_EQ(report.failures[0].error.status, Status::handler_error);
    EXPECT_EQ(report.failures[2].waited, 200ms);
    EXPECT_EQ(report.end, RetryEnd::succeeded);

    seen.clear();
    const auto once = client.send("flaky", order(), kSoon, {.retry = policy, .report = &report});
    EXPECT_EQ(once.status(), Status::handler_error);
    EXPECT_EQ(seen.size(), 1U) << "nobody said that it may run twice";
    EXPECT_EQ(report.end, RetryEnd::not_retryable);

    seen.clear();
    policy.attempts_max = 3;
    const auto given_up =
        client.send("flaky", order(), kSoon, {.retry = policy, .idempotent = true});
    EXPECT_EQ(given_up.status(), Status::handler_error);
    EXPECT_NE(given_up.error().detail.find("3 attempts in 300 ms, attempts_max is 3"),
              std::string::npos)
        << given_up.error().detail;
    EXPECT_EQ(given_up.error().outcome(), Outcome::may_have_happened);
}

TEST_P(RetryWays, without_a_policy_nothing_is_retried_or_marked) {
    std::atomic<int> runs{0};
    std::atomic<bool> marked{false};
    const Function served =
        server
            .serve("once",
                   [&](const Message& request) -> Result<Message> {
                       ++runs;
                       marked = marked || request.no_retry() || request.attempt() != 1;
                       return Error{Status::server_error, 0, "no"};
                   })
            .value();
    RetryReport report;
    EXPECT_EQ(client.send("once", order(), kSoon, {.idempotent = true, .report = &report}).status(),
              Status::handler_error);
    EXPECT_EQ(runs, 1);
    EXPECT_FALSE(marked);
    EXPECT_EQ(report.attempts, 0U);
}

TEST_P(RetryWays, a_call_waits_for_a_server_that_is_not_there_yet) {
    Function served;
    RetryPolicy policy = plain([&, naps = 0]() mutable {
        if (++naps == 2) {
            served = server.serve("late", [](const Message& request) { return request; }).value();
        }
    });
    policy.retry_on = StatusSet{Status::function_not_found};
    RetryReport report;
    const auto reply = client.send("late", order(), kSoon, {.retry = policy, .report = &report});
    ASSERT_TRUE(reply) << to_string(reply.error());
    EXPECT_EQ(report.attempts, 3U);
}

TEST_P(RetryWays, an_overloaded_call_is_retried_by_default) {
    std::latch begun(1);
    std::latch go_on(1);
    const Function served = server
                                .serve("slow",
                                       [&](const Message& request) {
                                           if (request.text() == "first") {
                                               begun.count_down();
                                               go_on.wait();
                                           }
                                           return request;
                                       },
                                       {.inflight_max = 1})
                                .value();
    auto first = client.send_async("slow", order("first"), kSoon);
    begun.wait();
    auto second = client.send_async("slow", order("second"), kSoon);
    while (client.function_status("slow")->queued == 0) {
        std::this_thread::sleep_for(1ms);
    }
    bool freed = false;
    const RetryPolicy policy = plain([&] {
        if (!std::exchange(freed, true)) {
            go_on.count_down();
            EXPECT_TRUE(first.get(kSoon));
            EXPECT_TRUE(second.get(kSoon));
        }
    });
    RetryReport report;
    // Through a bridge the call itself waits for no room; here a timeout of 0 does not, either.
    const auto third = client.send("slow",
                                   order("third"),
                                   remote() ? Duration(kSoon) : 20ms,
                                   {.retry = policy, .report = &report});
    ASSERT_TRUE(third) << to_string(third.error());
    ASSERT_GE(report.failures.size(), 1U);
    EXPECT_EQ(report.failures[0].error.status, Status::overloaded);
}

TEST_P(RetryWays, an_offer_to_a_full_queue_is_retried) {
    const Queue made = server.create_queue("small", {.capacity = 1}).value();
    Queue consumer = made;
    const RetryPolicy policy = plain([&, naps = 0]() mutable {
        if (++naps == 2) {
            EXPECT_TRUE(consumer.poll(kSoon));
        }
    });
    Queue queue = client.queue("small").value();
    ASSERT_TRUE(queue.offer(order("1")));
    RetryReport report;
    const auto offered = queue.offer(order("2"), {}, {.retry = policy, .report = &report});
    ASSERT_TRUE(offered) << to_string(offered.error());
    EXPECT_EQ(*offered, 2U);
    EXPECT_EQ(report.attempts, 3U);
    EXPECT_EQ(report.failures[1].error.status, Status::queue_full);
    EXPECT_EQ(consumer.poll(kSoon)->text(), "2");
    ASSERT_TRUE(queue.offer(order("3")));
    EXPECT_EQ(queue.offer(order("4")).status(), Status::queue_full) << "without a policy";
}

TEST_P(RetryWays, the_policy_of_a_client_is_that_of_its_handles) {
    Queue consumer = server.create_queue("small", {.capacity = 1}).value();
    int naps = 0;
    Client retrying = client_with(plain([&] {
        ++naps;
        EXPECT_TRUE(consumer.poll(kSoon));
    }));
    Queue queue = retrying.queue("small").value();
    ASSERT_TRUE(queue.offer(order("1")));
    EXPECT_TRUE(queue.offer(order("2")));
    EXPECT_EQ(naps, 1);
    auto loan = queue.loan("order", 5).value();
    EXPECT_TRUE(queue.offer(std::move(loan)));
    EXPECT_EQ(naps, 2);
    EXPECT_EQ(queue.offer(order("4"), {}, {.retry = RetryPolicy{.attempts_max = 1}}).status(),
              Status::queue_full)
        << "its own goes before it";
}

TEST_P(RetryWays, a_publish_to_a_slow_subscriber_is_retried) {
    const Topic made =
        server.create_topic("news", {.capacity = 1, .slow = SlowSubscriber::block}).value();
    Subscription slow = server.subscribe("news").value();
    int naps = 0;
    Client retrying = client_with(plain([&] {
        ++naps;
        EXPECT_TRUE(slow.next(kSoon));
    }));
    const Message news = Message::text("news", "hot");
    Topic topic = retrying.topic("news").value();
    ASSERT_TRUE(topic.publish(news));
    EXPECT_TRUE(topic.publish(news));
    EXPECT_EQ(naps, 1);
    EXPECT_TRUE(retrying.publish(news));
    EXPECT_EQ(naps, 2);
    auto loan = topic.loan(3).value();
    EXPECT_TRUE(topic.publish(std::move(loan)));
    EXPECT_EQ(naps, 3);
    RetryReport report;
    EXPECT_TRUE(client.publish(
        news, {}, {.retry = plain([&] { EXPECT_TRUE(slow.next(kSoon)); }), .report = &report}));
    EXPECT_EQ(report.attempts, 2U);
}

TEST_P(RetryWays, a_function_that_does_not_answer_opens_its_breaker) {
    std::atomic<bool> hangs{true};
    std::latch go_on(1);
    const Function served = server
                                .serve("sick",
                                       [&](const Message& request) {
                                           if (hangs) {
                                               go_on.wait();
                                           }
                                           return request;
                                       },
                                       {.threads = 8})
                                .value();
    const auto clock = std::make_shared<FakeClock>();
    RetryPolicy policy = plain();
    policy.clock = clock;
    policy.breaker = CircuitBreaker{.failures_max = 3, .open_for = 1s};
    RetryReport report;
    const SendOptions options{.retry = policy, .report = &report};
    for (int i = 0; i < 3; ++i) {
        EXPECT_EQ(client.send("sick", order(), 5ms, options).status(), Status::timed_out);
        EXPECT_EQ(report.attempts, 1U) << "it may have run";
    }
    const auto refused = client.send("sick", order(), kSoon, options);
    EXPECT_EQ(refused.status(), Status::overloaded);
    EXPECT_EQ(refused.error().outcome(), Outcome::did_not_happen);
    EXPECT_EQ(refused.error().detail,
              "the circuit breaker of function 'sick' is open after 3 failures in a row; it lets a "
              "probe through in 1000 ms; not sent");
    EXPECT_EQ(report.attempts, 0U);
    EXPECT_TRUE(another_client().exists("sick")) << "others are not concerned";
    hangs = false;
    go_on.count_down();
    clock->advance(1s);
    EXPECT_TRUE(client.send("sick", order(), kSoon, options));
    EXPECT_TRUE(client.send("sick", order(), kSoon, options));
}

TEST_P(RetryWays, the_budget_of_a_destination_is_a_tenth_of_its_calls) {
    const Queue full = server.create_queue("full", {.capacity = 1}).value();
    const Queue other = server.create_queue("other", {.capacity = 1}).value();
    RetryPolicy policy = plain();
    policy.budget = RetryBudget{};
    policy.attempts_max = 2;
    Client retrying = client_with(policy);
    Queue queue = retrying.queue("full").value();
    ASSERT_TRUE(queue.offer(order()));
    std::uint32_t retries = 0;
    for (int i = 0; i < 100; ++i) {
        RetryReport report;
        EXPECT_EQ(queue.offer(order(), {}, {.report = &report}).status(), Status::queue_full);
        retries += report.attempts - 1;
    }
    EXPECT_EQ(retries, 12U) << "3 at first, and one for each ten calls once they are used up";
    Queue healthy = retrying.queue("other").value();
    ASSERT_TRUE(healthy.offer(order()));
    RetryReport report;
    EXPECT_FALSE(healthy.offer(order(), {}, {.report = &report}));
    EXPECT_EQ(report.attempts, 2U) << "each destination has its own";
}

TEST_P(RetryWays, an_absurd_policy_is_refused_by_every_operation) {
    const RetryPolicy absurd{.factor = 0.5};
    const Queue made = server.create_queue("q").value();
    Queue queue = client.queue("q").value();
    Topic topic = client.topic("t").value();
    const Message news = Message::text("t", "hot");
    const auto named = [](const auto& result) {
        return result.status() == Status::bad_request &&
               result.error().detail == "retry.factor is 0.5, allowed are 1..100";
    };
    EXPECT_TRUE(named(client.send("f", order(), kSoon, {.retry = absurd})));
    EXPECT_TRUE(named(client.send_oneway("f", order(), kSoon, {.retry = absurd})));
    EXPECT_TRUE(named(queue.offer(order(), {}, {.retry = absurd})));
    EXPECT_TRUE(named(topic.publish(news, {}, {.retry = absurd})));
    EXPECT_TRUE(named(client.publish(news, {}, {.retry = absurd})));
    ConnectOptions options = how();
    options.retry = absurd;
    EXPECT_TRUE(named(connect(uri(), options)));
    EXPECT_EQ(client.send_async("f", order(), kSoon, {.retry = RetryPolicy{}}).get(kSoon).status(),
              Status::bad_request)
        << "it would not be retried";
}

// The system's clock: what waits to be tried again hears of a close and of a stop request.
TEST_P(RetryWays, closing_and_stopping_end_the_wait_between_attempts) {
    const Queue full = server.create_queue("full", {.capacity = 1}).value();
    const RetryPolicy patient{
        .base = 1h, .cap = 1h, .jitter = Jitter::none, .deadline = 24h, .breaker = {}};
    Client retrying = client_with(patient);
    Queue queue = retrying.queue("full").value();
    ASSERT_TRUE(queue.offer(order()));
    std::stop_source stop;
    std::thread stops([&] {
        std::this_thread::sleep_for(test::kAsleep);
        stop.request_stop();
    });
    const auto stopped = queue.offer(order(), {}, stop.get_token());
    stops.join();
    EXPECT_EQ(stopped.status(), Status::cancelled);
    EXPECT_EQ(stopped.error().outcome(), Outcome::did_not_happen);
    std::thread closes([&] {
        std::this_thread::sleep_for(test::kAsleep);
        retrying.close();
    });
    const auto closed = queue.offer(order());
    closes.join();
    EXPECT_EQ(closed.status(), Status::closed) << to_string(closed.error());
}

INSTANTIATE_TEST_SUITE_P(Every, RetryWays, test::kAllWays, test::name_of_way);

}  // namespace
}  // namespace telpher
