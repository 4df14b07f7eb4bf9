// Goal: of a chain of callers only the first retries, over every way to a domain.

#include "tests/unit/support/clock.hpp"
#include "tests/unit/support/messages.hpp"
#include "tests/unit/support/retry_clock.hpp"
#include "tests/unit/support/ways.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

namespace telpher {
namespace {

using namespace std::chrono_literals;

using test::order;
using test::plain;

class RetryChains : public test::Ways {};

// Three attempts of the first caller, and not 3 x 3 x 3.
TEST_P(RetryChains, only_the_first_caller_of_a_chain_retries) {
    RetryPolicy policy = plain();
    policy.attempts_max = 3;
    policy.retry_on = StatusSet{Status::handler_error};
    const SendOptions retrying{.retry = policy, .idempotent = true};
    std::atomic<int> last_runs{0};
    std::atomic<int> oneways_marked{0};
    const auto fails = [&](const Message& request) -> Result<Message> {
        ++last_runs;
        EXPECT_TRUE(request.no_retry());
        return Error{Status::server_error, 0, "no"};
    };
    Client nested = another_client();
    const Function last = server.serve("last", fails).value();
    const Function plain_call =
        server
            .serve("plain",
                   [&](const Message& request) { return nested.send("last", request, kSoon); })
            .value();
    const Function noted =
        server.serve("noted", [&](const Message& request) { oneways_marked += request.no_retry(); })
            .value();
    const Function middle =
        server
            .serve("middle",
                   [&](const Message& request) {
                       EXPECT_TRUE(nested.send_oneway("noted", order(), kSoon, retrying));
                       EXPECT_EQ(nested.send_async("noted", order(), kSoon).get(kSoon)->text(), "");
                       return nested.send("plain", request, kSoon, retrying);
                   })
            .value();
    RetryReport report;
    SendOptions options = retrying;
    options.report = &report;
    EXPECT_EQ(client.send("middle", order(), kSoon, options).status(), Status::handler_error);
    EXPECT_EQ(report.attempts, 3U);
    EXPECT_EQ(last_runs, 3);
    const test::Stopwatch watch;
    while (oneways_marked < 6 && watch.elapsed() < kSoon) {
        std::this_thread::sleep_for(1ms);
    }
    EXPECT_EQ(oneways_marked, 6) << "one-way and asynchronous requests pass it on";
}

TEST_P(RetryChains, offers_of_a_handler_whose_caller_retries_are_not_retried) {
    const Queue full = server.create_queue("full", {.capacity = 1}).value();
    Queue queue = client.queue("full").value();
    ASSERT_TRUE(queue.offer(order()));
    RetryEnd end{};
    const Function served = server
                                .serve("offers",
                                       [&](const Message&) {
                                           RetryReport report;
                                           static_cast<void>(queue.offer(
                                               order(), {}, {.retry = plain(), .report = &report}));
                                           end = report.end;
                                       })
                                .value();
    ASSERT_TRUE(client.send("offers", order(), kSoon, {.retry = plain()}));
    EXPECT_EQ(end, RetryEnd::chain);
    ASSERT_TRUE(client.send("offers", order(), kSoon));
    EXPECT_EQ(end, RetryEnd::attempts) << "the next request of the thread, whose caller does not";
    ASSERT_TRUE(client.send("offers", order(), kSoon, {.retry = RetryPolicy{.attempts_max = 1}}));
    EXPECT_EQ(end, RetryEnd::attempts) << "a policy of one attempt retries nothing";
}

INSTANTIATE_TEST_SUITE_P(Every, RetryChains, test::kAllWays, test::name_of_way);

}  // namespace
}  // namespace telpher
