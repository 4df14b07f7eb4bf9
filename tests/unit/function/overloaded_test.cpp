// Goal: a handler can refuse work for a while, over every way: its caller hears that it did nothing and how long to
//       wait, and a policy for retries waits so long.

#include "tests/unit/support/ways.hpp"

#include <atomic>
#include <chrono>
#include <string>

namespace telpher {
namespace {

using namespace std::chrono_literals;

class OverloadedHandler : public test::Ways {
  protected:
    // Refuses the first `refusals` requests.
    Function serve(int refusals, Duration retry_after, ServeOptions options = {}) {
        options.inflight_max = 16;
        refusals_ = refusals;
        return server
            .serve(
                "work",
                [this, retry_after](const Message& request) -> Result<Message> {
                    attempts_.fetch_add(1);
                    if (refusals_.fetch_sub(1) > 0) {
                        Error busy{Status::overloaded, 0, "busy"};
                        busy.retry_after = retry_after;
                        return busy;
                    }
                    return request;
                },
                options)
            .value();
    }
    std::atomic<int> refusals_{0};
    std::atomic<int> attempts_{0};
};

TEST_P(OverloadedHandler, tells_how_long_to_wait) {
    Function work = serve(1, 1500us);
    const auto refused = client.send("work", Message::text("t", "x"), kSoon);
    ASSERT_EQ(refused.status(), Status::overloaded);
    EXPECT_EQ(refused.error().retry_after, 2ms) << "rounded up";
    EXPECT_EQ(refused.error().outcome(), Outcome::did_not_happen);
    EXPECT_NE(refused.error().detail.find("try again in 2 ms"), std::string::npos)
        << refused.error().detail;
    EXPECT_EQ(client.send("work", Message::text("t", "x"), kSoon)->text(), "x");
    EXPECT_EQ(client.function_status("work")->errors, 1U);
}

TEST_P(OverloadedHandler, of_futures_too) {
    Function work = serve(1, 7ms);
    const auto refused = client.send_async("work", Message::text("t", "x"), kSoon).get(kSoon);
    ASSERT_EQ(refused.status(), Status::overloaded);
    EXPECT_EQ(refused.error().retry_after, 7ms);
}

TEST_P(OverloadedHandler, may_say_nothing_or_nonsense) {
    for (const auto& [said, heard] : {std::pair<Duration, Duration>{0ms, 0ms},
                                      {-5s, 0ms},
                                      {Duration::max(), 24h},
                                      {Duration::min(), 0ms}}) {
        Function work = serve(1, said);
        const auto refused = client.send("work", Message::text("t", "x"), kSoon);
        ASSERT_EQ(refused.status(), Status::overloaded);
        EXPECT_EQ(refused.error().retry_after, heard);
        work.stop();
    }
}

TEST_P(OverloadedHandler, is_given_its_time_by_a_policy_for_retries) {
    Function work = serve(2, 40ms);
    const RetryPolicy policy{.base = 1ms, .jitter = Jitter::none};
    RetryReport report;
    const auto begun = std::chrono::steady_clock::now();
    const auto done =
        client.send("work", Message::text("t", "x"), kSoon, {.retry = policy, .report = &report});
    ASSERT_TRUE(done) << to_string(done.error());
    EXPECT_GE(std::chrono::steady_clock::now() - begun, 83ms);
    EXPECT_EQ(report.attempts, 3U);
    EXPECT_EQ(report.failures[1].waited, 41ms);
    EXPECT_EQ(attempts_.load(), 3);
}

TEST_P(OverloadedHandler, remembers_nothing_of_what_it_refused) {
    Function work = serve(1, 1ms, {.idempotency = Idempotency{.scope = IdempotencyScope::global}});
    const Message request = Message::text("t", "x").with_request_id("1");
    EXPECT_EQ(client.send("work", request, kSoon).status(), Status::overloaded);
    const auto done = client.send("work", request, kSoon);
    ASSERT_TRUE(done);
    EXPECT_FALSE(done->replayed());
    EXPECT_TRUE(client.send("work", request, kSoon)->replayed());
    EXPECT_EQ(attempts_.load(), 2);
}

INSTANTIATE_TEST_SUITE_P(Over, OverloadedHandler, test::kAllWays, test::name_of_way);

}  // namespace
}  // namespace telpher
