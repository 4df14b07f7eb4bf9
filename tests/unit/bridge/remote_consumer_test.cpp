// Consumers with a handler over every way to a domain: the same calls, the same outcomes.

#include "telpher/admin.hpp"

#include "tests/unit/support/ways.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <future>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace telpher::test {
namespace {

using namespace std::chrono_literals;

class RemoteConsumer : public Ways {
  protected:
    void SetUp() override {
        Ways::SetUp();
        Admin admin = Admin::connect(uri(), how()).value();
        ASSERT_TRUE(admin.create_queue("q",
                                       {.capacity = 64,
                                        .delivery = DeliveryMode::at_least_once,
                                        .lease = kLease,
                                        .deliveries_max = 3,
                                        .dead_letter = "dead"}));
        ASSERT_TRUE(admin.create_queue("once", {.capacity = 64}));
        queue = client.queue("q").value();
        dead = client.queue("dead").value();
        once = client.queue("once").value();
    }
    void TearDown() override {
        queue = {};
        dead = {};
        once = {};
        Ways::TearDown();
    }
    static void offer(Queue& to, const std::string& text) {
        ASSERT_TRUE(to.offer(Message::text("n", text), kSoon));
    }
    // Texts in the order in which handlers had them.
    void note(const MessageView& message) {
        const std::lock_guard hold(mutex);
        seen.emplace_back(message.text());
    }
    std::vector<std::string> noted() {
        const std::lock_guard hold(mutex);
        return seen;
    }
    template <typename Condition>
    static bool soon(const Condition& condition) {
        const auto end = std::chrono::steady_clock::now() + kSoon;
        while (!condition() && std::chrono::steady_clock::now() < end) {
            std::this_thread::sleep_for(1ms);
        }
        return condition();
    }
    ConsumeOptions told(ConsumeOptions options = {}) {
        options.on_error = [this](const ConsumeFailure& failure) {
            const std::lock_guard hold(mutex);
            failures.push_back(failure);
        };
        return options;
    }

    // A busy machine stops a process for a tenth of a second and more: a third of this is more than that.
    static constexpr auto kLease = 1000ms;
    Queue queue;
    Queue dead;
    Queue once;
    std::mutex mutex;
    std::vector<std::string> seen;
    std::vector<ConsumeFailure> failures;
};

TEST_P(RemoteConsumer, has_each_message_in_order_and_acknowledges_it) {
    Consumer consumer =
        queue.consume([this](const Message& message) { note(message.view()); }, told()).value();
    EXPECT_TRUE(consumer.running());
    for (int i = 1; i <= 5; ++i) {
        offer(queue, std::to_string(i));
    }
    EXPECT_TRUE(soon([&] { return consumer.status().acknowledged == 5; }));
    EXPECT_EQ(noted(), (std::vector<std::string>{"1", "2", "3", "4", "5"}));
    consumer.stop();
    EXPECT_FALSE(consumer.running());
    const QueueStatus status = queue.status().value();
    EXPECT_EQ(status.leased + status.delayed + status.depth + status.redelivered, 0U);
    EXPECT_TRUE(failures.empty());
    offer(queue, "6");
    EXPECT_EQ(queue.poll(kSoon).value().text(), "6") << "it polls no more";
}

TEST_P(RemoteConsumer, of_a_handler_that_runs_far_longer_than_the_lease_keeps_it) {
    Client other = another_client();
    Queue rival = other.queue("q").value();
    std::atomic<bool> begun{false};
    Consumer consumer = queue
                            .consume(
                                [&](const Delivery& delivery) {
                                    begun = true;
                                    std::this_thread::sleep_for(3 * kLease);
                                    note(delivery);
                                },
                                told())
                            .value();
    offer(queue, "long");
    ASSERT_TRUE(soon([&] { return begun.load(); }));
    EXPECT_EQ(rival.poll(2 * kLease).status(), Status::timed_out) << "it is still leased";
    EXPECT_TRUE(soon([&] { return consumer.status().acknowledged == 1; }));
    const ConsumerStatus status = consumer.status();
    EXPECT_GE(status.extended, 5U);
    EXPECT_EQ(status.leases_lost, 0U);
    EXPECT_EQ(queue.status().value().lease_expired, 0U);
    EXPECT_TRUE(failures.empty());
}

TEST_P(RemoteConsumer, of_messages_that_wait_for_their_turn_keeps_their_leases) {
    for (int i = 1; i <= 4; ++i) {
        offer(queue, std::to_string(i));
    }
    Consumer consumer = queue
                            .consume(
                                [this](const Delivery& delivery) {
                                    std::this_thread::sleep_for(kLease / 2);
                                    note(delivery);
                                },
                                told({.prefetch = 4}))
                            .value();
    EXPECT_TRUE(soon([&] { return consumer.status().acknowledged == 4; }));
    EXPECT_EQ(noted(), (std::vector<std::string>{"1", "2", "3", "4"}));
    EXPECT_EQ(queue.status().value().lease_expired, 0U);
    EXPECT_GE(consumer.status().extended, 3U);
}

TEST_P(RemoteConsumer, does_with_a_message_what_its_handler_says) {
    Consumer consumer =
        queue
            .consume(
                [this](const Delivery& delivery) {
                    note(delivery);
                    if (delivery.text() == "refused") {
                        return Handled::reject();
                    }
                    return delivery.deliveries() == 1 ? Handled::nack(30ms) : Handled::ack();
                },
                told())
            .value();
    offer(queue, "refused");
    EXPECT_TRUE(soon([&] { return consumer.status().rejected == 1; }));
    const auto start = std::chrono::steady_clock::now();
    offer(queue, "later");
    EXPECT_TRUE(soon([&] { return consumer.status().acknowledged == 1; }));
    EXPECT_GE(std::chrono::steady_clock::now() - start, 25ms);
    EXPECT_EQ(consumer.status().given_back, 1U);
    EXPECT_EQ(noted(), (std::vector<std::string>{"refused", "later", "later"}));
    Delivery letter = dead.poll(kSoon).value();
    EXPECT_EQ(letter.text(), "refused");
    EXPECT_EQ(letter.dead_letter()->reason, ReturnReason::rejected);
    EXPECT_TRUE(letter.ack());
    EXPECT_TRUE(failures.empty());
}

TEST_P(RemoteConsumer, whose_handler_fails_gives_back_tells_and_at_last_it_is_a_dead_letter) {
    Consumer consumer = queue
                            .consume(
                                [](const Delivery& delivery) -> Result<void> {
                                    if (delivery.deliveries() == 1) {
                                        throw std::runtime_error("no milk");
                                    }
                                    return Error{Status::mismatch, 0, "no beans"};
                                },
                                told({.retry_after = 5ms}))
                            .value();
    offer(queue, "poison");
    Delivery letter = dead.poll(kSoon).value();
    EXPECT_EQ(letter.text(), "poison");
    EXPECT_EQ(letter.dead_letter()->reason, ReturnReason::too_many_deliveries);
    EXPECT_TRUE(letter.ack());
    consumer.stop();
    ASSERT_EQ(failures.size(), 3U);
    EXPECT_EQ(failures[0].status, Status::handler_error);
    EXPECT_EQ(failures[0].text, "no milk");
    EXPECT_EQ(failures[0].queue, "q");
    EXPECT_EQ(failures[0].sequence, 1U);
    EXPECT_EQ(failures[2].status, Status::mismatch);
    EXPECT_EQ(failures[2].text, "no beans");
    EXPECT_EQ(failures[2].deliveries, 3U);
    EXPECT_EQ(consumer.status().handler_errors, 3U);
    EXPECT_EQ(consumer.status().given_back, 3U);
}

TEST_P(RemoteConsumer, of_an_at_most_once_queue_has_each_message_once) {
    Consumer consumer =
        once.consume(
                [this](const Delivery& delivery) {
                    note(delivery);
                    if (delivery.text() == "2") {
                        throw std::runtime_error("lost");
                    }
                    return delivery.text() == "3" ? Handled::nack() : Handled::ack();
                },
                told())
            .value();
    for (int i = 1; i <= 4; ++i) {
        offer(once, std::to_string(i));
    }
    EXPECT_TRUE(soon([&] { return noted().size() == 4; }));
    consumer.stop();
    EXPECT_EQ(noted(), (std::vector<std::string>{"1", "2", "3", "4"}));
    EXPECT_EQ(consumer.status().acknowledged, 2U);
    EXPECT_EQ(consumer.status().extended, 0U);
    ASSERT_EQ(failures.size(), 2U);
    EXPECT_EQ(failures[0].text, "lost");
    EXPECT_EQ(failures[1].status, Status::bad_request) << "it cannot be given back";
    EXPECT_EQ(once.poll().status(), Status::queue_empty);
}

TEST_P(RemoteConsumer, of_several_threads_runs_as_many_handlers_at_once) {
    std::atomic<int> running{0};
    std::promise<void> go;
    std::shared_future<void> gone = go.get_future().share();
    Consumer consumer = queue
                            .consume(
                                [&](const Delivery& /*delivery*/) {
                                    ++running;
                                    gone.wait();
                                },
                                told({.threads = 3}))
                            .value();
    for (int i = 0; i < 6; ++i) {
        offer(queue, "x");
    }
    EXPECT_TRUE(soon([&] { return running == 3; }));
    std::this_thread::sleep_for(20ms);
    EXPECT_EQ(running, 3);
    go.set_value();
    EXPECT_TRUE(soon([&] { return consumer.status().acknowledged == 6; }));
}

TEST_P(RemoteConsumer, that_is_stopped_returns_when_no_handler_runs) {
    std::atomic<int> begun{0};
    std::atomic<int> ended{0};
    Consumer consumer = queue
                            .consume(
                                [&](const Delivery& /*delivery*/) {
                                    ++begun;
                                    std::this_thread::sleep_for(2 * kLease);
                                    ++ended;
                                },
                                told())
                            .value();
    offer(queue, "1");
    ASSERT_TRUE(soon([&] { return begun == 1; }));
    consumer.stop();
    EXPECT_EQ(ended, 1);
    EXPECT_EQ(consumer.status().acknowledged, 1U) << "its lease was extended to the end";
    EXPECT_TRUE(failures.empty());
    consumer.stop();  // again: nothing
}

TEST_P(RemoteConsumer, is_told_why_it_ended_by_itself) {
    std::promise<Status> why;
    ConsumeOptions options = told({.threads = 2});
    options.on_end = [&](const Error& error) { why.set_value(error.status); };
    Consumer consumer = queue.consume([](const Delivery& /*delivery*/) {}, options).value();
    Admin admin = Admin::connect(uri(), how()).value();
    ASSERT_TRUE(admin.remove_queue("q"));
    EXPECT_EQ(why.get_future().get(), Status::queue_not_found);
    EXPECT_TRUE(soon([&] { return !consumer.running(); }));
}

INSTANTIATE_TEST_SUITE_P(Every, RemoteConsumer, kAllWays, name_of_way);

}  // namespace
}  // namespace telpher::test
