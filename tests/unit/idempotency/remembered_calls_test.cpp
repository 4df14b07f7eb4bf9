// Goal:   a request with an id has its effect once: duplicates hear the first response, whenever and over
//         whichever way they come; what cannot be remembered is refused, and says why.
// Method: a server here, callers over every way to the domain.

#include "tests/unit/support/ways.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <latch>
#include <thread>
#include <vector>

namespace telpher {
namespace {

using namespace std::chrono_literals;

Message payment(std::string_view id, std::string_view text = "10 EUR") {
    return Message::text("pay", text).with_request_id(id);
}

class RememberedCalls : public test::Ways {
  protected:
    Function serve(const Idempotency& how, std::uint32_t threads = 1) {
        return server
            .serve("pay",
                   [this](const Message& request) {
                       ++runs_;
                       if (request.rerun()) {
                           ++reruns_;
                       }
                       if (request.text() == "slow") {
                           std::this_thread::sleep_for(60ms);
                       }
                       return Message::text("booked", "#" + std::to_string(runs_.load()))
                           .with_correlation_id("c-1");
                   },
                   {.threads = threads, .idempotency = how})
            .value();
    }
    void expect_sound() {
        const VerifyReport report = server.verify().value();
        EXPECT_EQ(report.problems, std::vector<std::string>{});
    }
    std::atomic<int> runs_{0};
    std::atomic<int> reruns_{0};
};

TEST_P(RememberedCalls, a_duplicate_hears_the_first_response_marked_as_replayed) {
    const Function pay = serve({});
    const Message first = client.send("pay", payment("a"), kSoon).value();
    EXPECT_EQ(first.text(), "#1");
    EXPECT_FALSE(first.replayed());
    for (int i = 0; i < 3; ++i) {
        Client other = another_client();
        const Message again = other.send("pay", payment("a"), kSoon).value();
        EXPECT_EQ(again.text(), "#1");
        EXPECT_TRUE(again.replayed());
        EXPECT_EQ(again.request_id(), "a");
        EXPECT_EQ(again.correlation_id(), "c-1");
        EXPECT_FALSE(again.id() == first.id()) << "a message of its own";
    }
    EXPECT_EQ(runs_, 1);
    EXPECT_EQ(client.send("pay", payment("b"), kSoon)->text(), "#2");
    EXPECT_EQ(client.send("pay", Message::text("pay", "10 EUR"), kSoon)->text(), "#3") << "no id";
    const IdempotencyFigures figures = client.function_status("pay")->idempotency;
    EXPECT_TRUE(figures.on);
    EXPECT_EQ(figures.entries, 2U);
    EXPECT_EQ(figures.duplicates, 3U);
    EXPECT_EQ(figures.replays, 3U);
    EXPECT_GE(figures.bytes, 256U);
    expect_sound();
    EXPECT_EQ(server.verify()->chunks_kept, 2U);
}

TEST_P(RememberedCalls, the_same_id_with_another_content_is_a_conflict) {
    const Function pay = serve({});
    ASSERT_TRUE(client.send("pay", payment("a"), kSoon));
    for (const Message& other :
         {payment("a", "11 EUR"),
          Message::text("refund", "10 EUR").with_request_id("a"),
          Message::json("pay", "1").with_request_id("a"),
          Message::text("pay", "text/html", "UTF-8", "10 EUR").with_request_id("a")}) {
        const auto reply = client.send("pay", other, kSoon);
        EXPECT_EQ(reply.status(), Status::idempotency_conflict);
        EXPECT_EQ(reply.error().outcome(), Outcome::did_not_happen);
    }
    // What may differ between two attempts is no difference.
    EXPECT_TRUE(client.send("pay", payment("a").with_correlation_id("other").expires_in(9s), kSoon)
                    ->replayed());
    EXPECT_EQ(runs_, 1);
    EXPECT_EQ(client.function_status("pay")->idempotency.conflicts, 4U);
}

TEST_P(RememberedCalls, two_racing_duplicates_run_once_and_hear_the_same) {
    const Function pay = serve({}, 4);
    for (int round = 0; round < 5; ++round) {
        constexpr int kCallers = 4;
        std::latch start(kCallers);
        std::vector<Message> heard(kCallers);
        std::vector<std::thread> callers;
        for (int i = 0; i < kCallers; ++i) {
            callers.emplace_back([&, i] {
                Client mine = another_client();
                start.arrive_and_wait();
                auto reply = mine.send("pay", payment(std::to_string(round), "slow"), kSoon);
                if (reply) {
                    heard[static_cast<std::size_t>(i)] = *reply;
                }
            });
        }
        for (std::thread& caller : callers) {
            caller.join();
        }
        EXPECT_EQ(runs_, round + 1);
        int replays = 0;
        for (const Message& reply : heard) {
            EXPECT_EQ(reply.text(), "#" + std::to_string(round + 1));
            replays += reply.replayed() ? 1 : 0;
        }
        EXPECT_EQ(replays, kCallers - 1);
    }
    expect_sound();
}

TEST_P(RememberedCalls, asynchronous_duplicates_wait_for_the_first) {
    const Function pay = serve({}, 2);
    std::vector<Future<Message>> calls;
    for (int i = 0; i < 6; ++i) {
        calls.push_back(client.send_async("pay", payment("a", "slow"), kSoon));
    }
    int replays = 0;
    for (auto& call : calls) {
        const auto reply = call.get(kSoon);
        ASSERT_TRUE(reply) << to_string(reply.error());
        EXPECT_EQ(reply->text(), "#1");
        replays += reply->replayed() ? 1 : 0;
    }
    EXPECT_EQ(runs_, 1);
    EXPECT_EQ(replays, 5);
}

// Not by the second that the parker sleeps at most.
TEST_P(RememberedCalls, asynchronous_duplicates_hear_it_soon) {
    const Function pay = serve({}, 2);
    auto first = client.send_async("pay", payment("a", "slow"), kSoon);
    auto second = client.send_async("pay", payment("a", "slow"), 600ms);
    const auto reply = second.get(kSoon);
    ASSERT_TRUE(reply) << to_string(reply.error());
    EXPECT_EQ(reply->text(), "#1");
    EXPECT_TRUE(first.get(kSoon));
    EXPECT_EQ(runs_, 1);
}

// Longer than an outcome is remembered: counted from the outcome on.
TEST_P(RememberedCalls, a_slow_handler_is_remembered_from_its_end) {
    const Function pay = serve({.ttl = 500ms}, 2);
    auto first = client.send_async("pay", payment("a", "very slow"), kSoon);
    std::this_thread::sleep_for(100ms);
    const auto second = client.send("pay", payment("a", "very slow"), kSoon);
    ASSERT_TRUE(second) << to_string(second.error());
    EXPECT_TRUE(second->replayed());
    EXPECT_TRUE(first.get(kSoon));
    EXPECT_EQ(runs_, 1);
}

TEST_P(RememberedCalls, who_gave_up_hears_it_later) {
    const Function pay = serve({}, 2);
    const auto late = client.send("pay", payment("a", "slow"), 20ms);
    EXPECT_EQ(late.status(), Status::timed_out);
    const auto impatient = client.send("pay", payment("a", "slow"), 10ms);
    EXPECT_EQ(impatient.status(), Status::timed_out);
    EXPECT_NE(impatient.error().outcome(), Outcome::did_not_happen);
    const auto reply = client.send("pay", payment("a", "slow"), kSoon);
    ASSERT_TRUE(reply);
    EXPECT_EQ(reply->text(), "#1");
    EXPECT_TRUE(reply->replayed());
    EXPECT_EQ(runs_, 1);
}

TEST_P(RememberedCalls, it_outlives_its_server) {
    {
        const Function pay = serve({.ttl = 1h});
        ASSERT_EQ(client.send("pay", payment("a"), kSoon)->text(), "#1");
    }
    EXPECT_EQ(client.send("pay", payment("a"), kSoon).status(), Status::function_not_found);
    const Function pay = serve({.ttl = 1h});
    const auto again = client.send("pay", payment("a"), kSoon);
    ASSERT_TRUE(again);
    EXPECT_EQ(again->text(), "#1");
    EXPECT_TRUE(again->replayed());
    EXPECT_EQ(client.send("pay", payment("a", "other"), kSoon).status(),
              Status::idempotency_conflict);
    EXPECT_EQ(runs_, 1);
}

TEST_P(RememberedCalls, its_time_passes) {
    const Function pay = serve({.ttl = 30ms});
    ASSERT_EQ(client.send("pay", payment("a"), kSoon)->text(), "#1");
    std::this_thread::sleep_for(50ms);
    EXPECT_EQ(client.send("pay", payment("a"), kSoon)->text(), "#2");
    std::this_thread::sleep_for(50ms);
    EXPECT_EQ(client.function_status("pay")->idempotency.entries, 0U);
    EXPECT_EQ(server.verify()->chunks_kept, 0U);
}

TEST_P(RememberedCalls, an_id_may_be_demanded) {
    const Function pay = serve({.required = true});
    const auto reply = client.send("pay", Message::text("pay", "10 EUR"), kSoon);
    EXPECT_EQ(reply.status(), Status::bad_request);
    EXPECT_EQ(runs_, 0);
    EXPECT_TRUE(client.send("pay", payment("a"), kSoon));
}

TEST_P(RememberedCalls, a_full_store_rejects_or_forgets_the_oldest) {
    {
        const Function pay = serve({.entries_max = 4});
        for (int i = 0; i < 4; ++i) {
            ASSERT_TRUE(client.send("pay", payment("r" + std::to_string(i)), kSoon));
        }
        const auto reply = client.send("pay", payment("r4"), kSoon);
        EXPECT_EQ(reply.status(), Status::limit_reached);
        EXPECT_EQ(reply.error().outcome(), Outcome::did_not_happen);
        EXPECT_TRUE(client.send("pay", payment("r0"), kSoon)->replayed())
            << "nothing was forgotten";
        EXPECT_EQ(runs_, 4);
    }
    std::this_thread::sleep_for(20ms);  // of one tick of the coarse clock is of one age
    const Function pay = serve({.entries_max = 4, .when_full = WhenFull::evict_oldest});
    for (int i = 4; i < 20; ++i) {
        ASSERT_TRUE(client.send("pay", payment("r" + std::to_string(i)), kSoon));
    }
    const IdempotencyFigures figures = client.function_status("pay")->idempotency;
    EXPECT_LE(figures.entries, 5U);
    EXPECT_GE(figures.evicted, 14U);
    EXPECT_TRUE(client.send("pay", payment("r19"), kSoon)->replayed());
    EXPECT_FALSE(client.send("pay", payment("r0"), kSoon)->replayed()) << "forgotten: it ran again";
    expect_sound();
}

TEST_P(RememberedCalls, large_responses_are_kept_too) {
    const std::string large(700'000, 'x');
    std::atomic<int> runs{0};
    const Function big = server
                             .serve("big",
                                    [&](const Message& /*request*/) {
                                        ++runs;
                                        return Message::text("r", large);
                                    },
                                    {.idempotency = Idempotency{}})
                             .value();
    EXPECT_EQ(client.send("big", payment("a"), kSoon)->text(), large);
    const auto again = client.send("big", payment("a"), kSoon);
    ASSERT_TRUE(again) << to_string(again.error());
    EXPECT_EQ(again->text(), large);
    EXPECT_TRUE(again->replayed());
    EXPECT_EQ(runs, 1);
}

INSTANTIATE_TEST_SUITE_P(Over, RememberedCalls, test::kAllWays, test::name_of_way);

}  // namespace
}  // namespace telpher
