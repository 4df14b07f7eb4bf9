// Goal:   the rules of what is remembered: failures, scopes, fingerprints, limits of bytes, one-way requests,
//         responses that cannot be kept, retries.
// Method: a server here, callers over every way to the domain.

#include "tests/unit/support/ways.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>

namespace telpher {
namespace {

using namespace std::chrono_literals;

Message request(std::string_view id, std::string_view text = "x") {
    return Message::text("do", text).with_request_id(id);
}

class RememberedRules : public test::Ways {
  protected:
    using Does = std::function<Result<Message>(const Message&)>;
    Function serve(const Idempotency& how, Does does) {
        return server
            .serve("do",
                   [this, does = std::move(does)](const Message& asked) {
                       ++runs_;
                       return does(asked);
                   },
                   {.idempotency = how})
            .value();
    }
    Result<Message> ask(std::string_view id, std::string_view text = "x") {
        return client.send("do", request(id, text), kSoon);
    }
    static Result<Message> done(const Message& /*asked*/) { return Message::text("do", "done"); }
    std::atomic<int> runs_{0};
};

TEST_P(RememberedRules, a_failure_is_reported_again_and_nothing_runs) {
    const Function f = serve({}, [](const Message& /*asked*/) -> Result<Message> {
        throw std::runtime_error("half way");
    });
    const auto first = ask("a");
    EXPECT_EQ(first.status(), Status::handler_error);
    const auto again = ask("a");
    EXPECT_EQ(again.status(), Status::handler_error);
    EXPECT_NE(again.error().outcome(), Outcome::did_not_happen);
    EXPECT_EQ(runs_, 1);
}

TEST_P(RememberedRules, a_failure_runs_again_where_that_is_the_rule_and_the_handler_can_tell) {
    const Function f = serve({.when_uncertain = WhenUncertain::rerun},
                             [](const Message& asked) -> Result<Message> {
                                 if (!asked.rerun()) {
                                     throw std::runtime_error("half way");
                                 }
                                 return Message::text("do", "mended");
                             });
    EXPECT_EQ(ask("a").status(), Status::handler_error);
    const auto again = ask("a");
    ASSERT_TRUE(again) << to_string(again.error());
    EXPECT_EQ(again->text(), "mended");
    EXPECT_FALSE(again->replayed());
    EXPECT_TRUE(ask("a")->replayed());
    EXPECT_EQ(runs_, 2);
}

TEST_P(RememberedRules, a_failure_that_says_that_nothing_happened_is_forgotten) {
    const Function f = serve({}, [this](const Message& asked) -> Result<Message> {
        if (runs_ == 1) {
            return Error{Status::out_of_memory, 0, "later", Outcome::did_not_happen};
        }
        return done(asked);
    });
    EXPECT_EQ(ask("a").status(), Status::handler_error);
    const auto again = ask("a");
    ASSERT_TRUE(again) << to_string(again.error());
    EXPECT_FALSE(again->replayed());
    EXPECT_EQ(runs_, 2);
}

// Those of different sessions of remote clients are told apart by `client` alone.
TEST_P(RememberedRules, ids_are_told_apart_by_scope) {
    for (const auto& [scope, runs] : {std::pair{IdempotencyScope::client, remote() ? 2 : 1},
                                      std::pair{IdempotencyScope::principal, 1},
                                      std::pair{IdempotencyScope::global, 1}}) {
        runs_ = 0;
        const std::string id = "of " + std::string(to_string(scope));
        const Function f = serve({.scope = scope}, done);
        Client other = another_client();
        EXPECT_TRUE(ask(id));
        EXPECT_TRUE(ask(id)->replayed());
        const auto theirs = other.send("do", request(id), kSoon);
        ASSERT_TRUE(theirs);
        if (remote()) {
            EXPECT_EQ(runs_, runs) << to_string(scope);
            EXPECT_EQ(theirs->replayed(), runs == 1) << to_string(scope);
        }
    }
}

// What the fingerprint takes for the same is the same, though the requests differ.
TEST_P(RememberedRules, a_fingerprint_stands_for_an_id) {
    const Function f =
        serve({.required = true,
               .fingerprint =
                   [](const Message& asked) {
                       if (asked.text() == "throw") {
                           throw std::runtime_error("no fingerprint");
                       }
                       return std::string(asked.text().substr(0, asked.text().find('@')));
                   }},
              done);
    const auto send = [this](std::string_view text) {
        return client.send("do", Message::text("do", text), kSoon);
    };
    EXPECT_FALSE(send("10 EUR@12:00")->replayed());
    const auto again = send("10 EUR@12:01");
    ASSERT_TRUE(again) << to_string(again.error());
    EXPECT_TRUE(again->replayed());
    EXPECT_FALSE(send("11 EUR@12:01")->replayed());
    EXPECT_FALSE(client.send("do", request("10 EUR", "10 EUR@12:02"), kSoon)->replayed())
        << "an id is never a fingerprint";
    EXPECT_EQ(send("throw").status(), Status::bad_request) << "none, and one is demanded";
    EXPECT_EQ(runs_, 3);
}

TEST_P(RememberedRules, one_way_requests_run_once) {
    const Function f = serve({}, done);
    for (int i = 0; i < 3; ++i) {
        ASSERT_TRUE(client.send_oneway("do", request("a"), 1s));
    }
    ASSERT_TRUE(ask("behind them"));
    EXPECT_EQ(runs_, 2);
    EXPECT_EQ(client.function_status("do")->idempotency.duplicates, 2U);
    EXPECT_EQ(ask("a").status(), Status::duplicate) << "done, without a response";
}

TEST_P(RememberedRules, of_a_response_that_is_none_is_told_that_it_was_done) {
    const Function f = serve({}, [](const Message& /*asked*/) -> Result<Message> {
        return Message::text("", "a message needs a topic");
    });
    EXPECT_FALSE(ask("a"));
    const auto again = ask("a");
    EXPECT_EQ(again.status(), Status::duplicate);
    EXPECT_NE(again.error().outcome(), Outcome::did_not_happen);
    EXPECT_EQ(runs_, 1);
}

TEST_P(RememberedRules, the_bytes_of_responses_are_limited) {
    const auto large = [](const Message& /*asked*/) -> Result<Message> {
        return Message::text("do", std::string(900, 'x'));
    };
    {
        const Function f = serve({.bytes_max = 3000}, large);
        EXPECT_TRUE(ask("a"));
        EXPECT_TRUE(ask("b"));
        EXPECT_TRUE(ask("c"));
        EXPECT_EQ(ask("d").status(), Status::limit_reached);
        EXPECT_TRUE(ask("a")->replayed());
    }
    const Function f = serve({.bytes_max = 3000, .when_full = WhenFull::evict_oldest}, large);
    for (int i = 0; i < 12; ++i) {
        ASSERT_TRUE(ask("e" + std::to_string(i)));
    }
    EXPECT_LE(client.function_status("do")->idempotency.bytes, 5000U);
    EXPECT_TRUE(ask("e11")->replayed());
    EXPECT_EQ(server.verify()->problems, std::vector<std::string>{});
}

// The caller gives up after 30 ms, three times; the handler needs 100, and runs once.
TEST_P(RememberedRules, a_policy_repeats_what_may_have_happened_and_it_happens_once) {
    std::mutex mutex;
    std::string id;
    const Function f = serve({}, [&](const Message& asked) {
        const std::lock_guard hold(mutex);
        id = std::string(asked.request_id());
        std::this_thread::sleep_for(100ms);
        return done(asked);
    });
    SendOptions options;
    options.retry =
        RetryPolicy{.attempts_max = 20, .base = 5ms, .cap = 20ms, .budget = {}, .breaker = {}};
    RetryReport report;
    options.report = &report;
    const auto reply = client.send("do", Message::text("do", "no id"), 30ms, options);
    ASSERT_TRUE(reply) << to_string(reply.error());
    EXPECT_TRUE(reply->replayed());
    EXPECT_EQ(runs_, 1);
    const std::lock_guard hold(mutex);
    EXPECT_EQ(id.size(), 36U) << "made for it: " << id;
}

TEST(RememberedLimits, of_a_domain_are_checked) {
    test::ScratchDomain domain;
    for (const std::uint32_t entries : {0U, 63U, (1U << 20U) + 1}) {
        DomainLimits limits = test::small_limits();
        limits.idempotency_entries = entries;
        const auto server = Server::open(domain.name(), {.limits = limits});
        EXPECT_EQ(server.status(), Status::bad_request);
        EXPECT_NE(server.error().detail.find("limits.idempotency_entries"), std::string::npos);
    }
}

INSTANTIATE_TEST_SUITE_P(Over, RememberedRules, test::kAllWays, test::name_of_way);

}  // namespace
}  // namespace telpher
