// Goal: a one-way request that nobody handles is a dead letter of its function, whoever sent it over whichever way,
//       and tells why.

#include "tests/unit/support/ways.hpp"

#include <atomic>
#include <chrono>
#include <functional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace telpher {
namespace {

using namespace std::chrono_literals;

Message text(const std::string& what) { return Message::text("notice", what); }

class OnewayLetters : public test::Ways {
  protected:
    // One that fails, sleeps until it is released, or does what it is asked for.
    Function serve(ServeOptions options) {
        options.inflight_max = 64;
        return server
            .serve(
                "notify",
                [this](const Message& request) -> Result<Message> {
                    if (request.text() == "fail") {
                        return Error{Status::bad_request, 0, "no"};
                    }
                    if (request.text() == "throw") {
                        throw std::runtime_error("no");
                    }
                    begun_.fetch_add(1);
                    while (request.text() == "hold" && !released_.load()) {
                        std::this_thread::sleep_for(1ms);
                    }
                    done_.fetch_add(1);
                    return Message::text("done", "");
                },
                options)
            .value();
    }
    static void wait_until(const std::function<bool()>& what) {
        const auto end = std::chrono::steady_clock::now() + kSoon;
        while (!what() && std::chrono::steady_clock::now() < end) {
            std::this_thread::sleep_for(1ms);
        }
        EXPECT_TRUE(what());
    }
    Delivery letter() { return client.queue("dead").value().poll(kSoon).value(); }

    std::atomic<int> begun_{0};
    std::atomic<int> done_{0};
    std::atomic<bool> released_{false};
};

TEST_P(OnewayLetters, of_handlers_that_failed) {
    Function notify = serve({.dead_letter = "dead"});
    for (const char* how : {"fail", "throw"}) {
        EXPECT_TRUE(client.send_oneway("notify", text(how).with_request_id("id"), kSoon));
        Delivery dead = letter();
        EXPECT_EQ(dead.text(), how);
        EXPECT_EQ(dead.topic(), "notice");
        EXPECT_EQ(dead.request_id(), "id");
        EXPECT_EQ(dead.type(), MessageType::request);
        EXPECT_TRUE(dead.is_oneway());
        EXPECT_EQ(dead.deliveries(), 1U);
        ASSERT_TRUE(dead.dead_letter());
        EXPECT_EQ(dead.dead_letter()->reason, ReturnReason::rejected);
        EXPECT_EQ(dead.dead_letter()->origin, "notify");
        EXPECT_TRUE(dead.ack());
    }
    const FunctionStatus status = client.function_status("notify").value();
    EXPECT_EQ(status.dead_letter, "dead");
    EXPECT_EQ(status.dead_lettered, 2U);
    EXPECT_EQ(status.errors, 2U);
    // Who waits for an answer hears it: that is no letter.
    EXPECT_EQ(client.send("notify", text("fail"), kSoon).status(), Status::handler_error);
    EXPECT_EQ(client.queue("dead").value().status()->depth, 0U);
    EXPECT_EQ(server.verify()->problems, std::vector<std::string>{});
}

TEST_P(OnewayLetters, of_the_function_without_a_name) {
    Function nameless = server
                            .serve([](const Message&) -> Result<Message> { return Status::closed; },
                                   {.inflight_max = 64, .dead_letter = "dead"})
                            .value();
    EXPECT_TRUE(client.send_oneway(text("x"), kSoon));
    Delivery dead = letter();
    EXPECT_EQ(dead.text(), "x");
    EXPECT_EQ(dead.dead_letter()->origin, "*");
    EXPECT_TRUE(dead.ack());
}

TEST_P(OnewayLetters, of_what_expired_before_its_turn) {
    Function notify = serve({.dead_letter = "dead"});
    EXPECT_TRUE(client.send_oneway("notify", text("hold"), kSoon));
    wait_until([this] { return begun_.load() == 1; });
    EXPECT_TRUE(client.send_oneway("notify", text("late").expires_in(5ms), kSoon));
    std::this_thread::sleep_for(20ms);
    released_ = true;
    Delivery dead = letter();
    EXPECT_EQ(dead.text(), "late");
    EXPECT_EQ(dead.dead_letter()->reason, ReturnReason::expired);
    EXPECT_EQ(client.function_status("notify")->expired, 1U);
    // Given back, a letter stays one, and comes again.
    EXPECT_TRUE(dead.nack());
    dead = letter();
    EXPECT_EQ(dead.deliveries(), 2U);
    EXPECT_EQ(dead.dead_letter()->reason, ReturnReason::expired);
    EXPECT_TRUE(dead.ack());
}

TEST_P(OnewayLetters, of_what_was_left_when_the_function_ended_in_their_order) {
    Function notify = serve({.dead_letter = "dead"});
    EXPECT_TRUE(client.send_oneway("notify", text("hold"), kSoon));
    wait_until([this] { return begun_.load() == 1; });
    for (int i = 0; i < 20; ++i) {
        EXPECT_TRUE(client.send_oneway("notify", text(std::to_string(i)), kSoon));
    }
    std::thread ends([&notify] { notify.stop(); });
    wait_until([&notify] { return !notify.running(); });
    released_ = true;
    ends.join();
    notify = Function();
    for (int i = 0; i < 20; ++i) {
        Delivery dead = letter();
        EXPECT_EQ(dead.text(), std::to_string(i));
        EXPECT_EQ(dead.dead_letter()->reason, ReturnReason::undeliverable);
        // As long as the place of its name has not been used again.
        EXPECT_TRUE(dead.dead_letter()->origin == "notify" || dead.dead_letter()->origin.empty());
        EXPECT_TRUE(dead.ack());
    }
    EXPECT_EQ(done_.load(), 1);
    EXPECT_EQ(server.verify()->problems, std::vector<std::string>{});
}

TEST_P(OnewayLetters, an_id_that_is_refused_is_one_and_a_duplicate_is_not) {
    Function notify = serve(
        {.idempotency = Idempotency{.scope = IdempotencyScope::global}, .dead_letter = "dead"});
    EXPECT_TRUE(client.send_oneway("notify", text("x").with_request_id("1"), kSoon));
    EXPECT_TRUE(client.send_oneway("notify", text("x").with_request_id("1"), kSoon));
    EXPECT_TRUE(client.send_oneway("notify", text("y").with_request_id("1"), kSoon));
    Delivery dead = letter();
    EXPECT_EQ(dead.text(), "y");
    EXPECT_EQ(dead.dead_letter()->reason, ReturnReason::rejected);
    EXPECT_TRUE(dead.ack());
    EXPECT_EQ(done_.load(), 1);
    EXPECT_EQ(client.function_status("notify")->dead_lettered, 1U);
}

TEST_P(OnewayLetters, a_circular_queue_keeps_the_newest_and_a_bounded_one_the_oldest) {
    for (const QueueKind kind : {QueueKind::circular, QueueKind::bounded}) {
        Queue dead =
            server
                .create_queue(
                    "dead", {.capacity = 3, .kind = kind, .delivery = DeliveryMode::at_least_once})
                .value();
        Function notify = serve({.dead_letter = "dead"});
        for (int i = 0; i < 5; ++i) {
            EXPECT_TRUE(client.send_oneway(
                "notify", text("fail").with_request_id(std::to_string(i)), kSoon));
        }
        wait_until([this] { return client.function_status("notify")->dead_lettered == 5; });
        EXPECT_EQ(client.send("notify", text("last"), kSoon).status(), Status::ok);
        EXPECT_EQ(dead.status()->dropped, 2U);
        for (int i = 0; i < 3; ++i) {
            Delivery next = letter();
            EXPECT_EQ(next.request_id(), std::to_string(kind == QueueKind::circular ? i + 2 : i));
            EXPECT_TRUE(next.ack());
        }
        notify.stop();
        notify = Function();
        dead = Queue();
        EXPECT_TRUE(server.remove_queue("dead"));
    }
    EXPECT_EQ(server.verify()->problems, std::vector<std::string>{});
}

TEST_P(OnewayLetters, large_ones_too) {
    Function notify = serve({.dead_letter = "dead"});
    const std::string large(1'000'000, 'x');
    EXPECT_TRUE(client.send_oneway("notify", text("hold"), kSoon));
    wait_until([this] { return begun_.load() == 1; });
    EXPECT_TRUE(client.send_oneway("notify", text(large).expires_in(5ms), kSoon));
    std::this_thread::sleep_for(20ms);
    released_ = true;
    Delivery dead = letter();
    EXPECT_EQ(dead.text(), large);
    EXPECT_EQ(dead.dead_letter()->reason, ReturnReason::expired);
    EXPECT_TRUE(dead.ack());
}

TEST_P(OnewayLetters, without_such_a_queue_they_are_counted_only) {
    Function notify = serve({});
    EXPECT_TRUE(client.send_oneway("notify", text("fail"), kSoon));
    wait_until([this] { return client.function_status("notify")->errors == 1; });
    const FunctionStatus status = client.function_status("notify").value();
    EXPECT_EQ(status.dead_letter, "");
    EXPECT_EQ(status.dead_lettered, 0U);
}

INSTANTIATE_TEST_SUITE_P(Over, OnewayLetters, test::kAllWays, test::name_of_way);

class OnewayLettersOptions : public testing::Test {
  protected:
    static constexpr auto kSoon = 10s;
    static void nothing(const Message& /*request*/) {}
    test::ScratchDomain domain;
    Server server = domain.open();
};

TEST_F(OnewayLettersOptions, that_differ_or_cannot_be_are_refused) {
    EXPECT_EQ(server.serve("f", nothing, {.inflight_max = 64, .dead_letter = std::string(101, 'x')})
                  .status(),
              Status::bad_request);
    Queue plain = server.create_queue("plain", {.capacity = 64}).value();
    const auto plainly = server.serve("f", nothing, {.inflight_max = 64, .dead_letter = "plain"});
    EXPECT_EQ(plainly.status(), Status::mismatch);
    EXPECT_EQ(plainly.error().detail,
              "dead_letter names queue 'plain', which exists with kind bounded and capacity 64; it "
              "must be of delivery at_least_once");
    Function first =
        server.serve("f", nothing, {.inflight_max = 64, .dead_letter = "dead"}).value();
    EXPECT_TRUE(server.serve("f", nothing, {.inflight_max = 64, .dead_letter = "dead"}));
    const auto other = server.serve("f", nothing, {.inflight_max = 64, .dead_letter = "other"});
    EXPECT_EQ(other.status(), Status::mismatch);
    EXPECT_EQ(other.error().detail,
              "others serve it with inflight_max 64 and not idempotent and dead letters 'dead', "
              "asked for inflight_max 64 and not idempotent and dead letters 'other'");
    EXPECT_EQ(server.serve("f", nothing, {.inflight_max = 64}).status(), Status::mismatch);
    EXPECT_EQ(first.status()->servers, 1U);
}

// As any message of a queue with leases: it is the next one, has no deliveries, and needs no place.
TEST_F(OnewayLettersOptions, a_letter_that_was_fetched_and_not_read_is_the_next_one) {
    Queue dead =
        server
            .create_queue("dead",
                          {.capacity = 1, .delivery = DeliveryMode::at_least_once, .lease = 1h})
            .value();
    Function f = server
                     .serve("f",
                            [](const Message&) -> Result<Message> { return Status::cancelled; },
                            {.inflight_max = 64, .dead_letter = "dead"})
                     .value();
    const auto post = [&](const char* what, std::uint64_t letters) {
        EXPECT_TRUE(server.send_oneway("f", text(what), kSoon));
        while (dead.status()->offered < letters) {
            std::this_thread::sleep_for(1ms);
        }
    };
    post("first", 1);
    {
        const Future<Delivery> unread = dead.poll_async(kSoon);
        while (dead.status()->leased == 0) {
            std::this_thread::sleep_for(1ms);
        }
        post("second", 2);  // in its place
    }
    Delivery first = dead.poll(kSoon).value();
    EXPECT_EQ(first.text(), "first");
    EXPECT_EQ(first.deliveries(), 1U);
    EXPECT_EQ(first.reason(), ReturnReason::unread);
    EXPECT_EQ(dead.poll(kSoon).value().text(), "second");
    EXPECT_EQ(dead.status()->dropped, 0U);
}

TEST_F(OnewayLettersOptions, a_queue_that_was_removed_gets_no_letters_and_nothing_leaks) {
    std::atomic<int> failed{0};
    Function f = server
                     .serve("f",
                            [&failed](const Message&) -> Result<Message> {
                                failed.fetch_add(1);
                                return Status::cancelled;
                            },
                            {.inflight_max = 64, .dead_letter = "dead"})
                     .value();
    EXPECT_TRUE(server.remove_queue("dead"));
    EXPECT_TRUE(server.send_oneway("f", text("x"), kSoon));
    while (failed.load() == 0 || server.function_status("f")->errors == 0) {
        std::this_thread::sleep_for(1ms);
    }
    f.stop();
    EXPECT_EQ(server.verify()->problems, std::vector<std::string>{});
    EXPECT_EQ(server.verify()->chunks_parked, 0U);
}

}  // namespace
}  // namespace telpher
