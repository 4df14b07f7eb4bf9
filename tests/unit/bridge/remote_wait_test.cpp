// A caller that waits alone reads its connection itself: what others do with that connection meanwhile.

#include "telpher/telpher.hpp"

#include "tests/unit/support/sanitizers.hpp"
#include "tests/unit/support/ways.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

namespace telpher {
namespace {

using namespace std::chrono_literals;

class RemoteWait : public test::Ways {
  protected:
    void SetUp() override {
        Ways::SetUp();
        static_cast<void>(server.create_queue("orders").value());
        queue = client.queue("orders").value();
    }
    // A poll that waits, in a thread of its own.
    std::thread poll_until(Status expected, std::stop_token stop = {}) {
        std::thread waits([this, expected, stop = std::move(stop)] {
            EXPECT_EQ(queue.poll(kSoon, stop).status(), expected);
        });
        std::this_thread::sleep_for(30ms);
        return waits;
    }
    Queue queue;
};

TEST_P(RemoteWait, others_are_answered_while_one_polls_for_long) {
    std::thread waits = poll_until(Status::ok);
    static_cast<void>(server.create_queue("others").value());
    Queue others = client.queue("others").value();
    for (int i = 0; i < 20; ++i) {
        ASSERT_TRUE(others.offer(Message::text("t", "x"), kSoon));
        ASSERT_TRUE(others.offer_async(Message::text("t", "x"), kSoon).get(kSoon));
        ASSERT_TRUE(others.poll(kSoon));
    }
    ASSERT_TRUE(queue.offer(Message::text("t", "for who waits"), kSoon));
    waits.join();
}

TEST_P(RemoteWait, a_stop_request_ends_it) {
    std::stop_source stop;
    std::thread waits = poll_until(Status::cancelled, stop.get_token());
    stop.request_stop();
    waits.join();
}

TEST_P(RemoteWait, the_end_of_its_client_ends_it) {
    std::thread waits = poll_until(Status::closed);
    client.close();
    waits.join();
}

TEST_P(RemoteWait, futures_that_nobody_waits_for_become_ready_behind_it) {
    for (int i = 0; i < 50; ++i) {
        ASSERT_TRUE(queue.offer(Message::text("t", "read by its caller"), kSoon));
        auto future = queue.offer_async(Message::text("t", "read by the I/O thread"), kSoon);
        while (!future.ready()) {
            std::this_thread::yield();
        }
        EXPECT_TRUE(future.get(kSoon));
    }
}

// It is gathered with what may come behind it, but not kept.
TEST_P(RemoteWait, what_follows_a_batch_of_answers_leaves_though_nobody_waits) {
    Queue consumer = server.create_queue("others").value();
    Queue others = client.queue("others").value();
    for (int round = 0; round < 20; ++round) {
        std::vector<Future<std::uint64_t>> batch;
        for (int i = 0; i < 16; ++i) {
            batch.push_back(others.offer_async(Message::text("t", "of a batch"), kSoon));
        }
        std::this_thread::sleep_for(5ms);  // until all are answered, mostly at once
        for (auto& future : batch) {
            ASSERT_TRUE(future.get(kSoon));
            ASSERT_TRUE(consumer.poll(kSoon));
        }
        const auto alone = others.offer_async(Message::text("t", "alone"), kSoon);
        const auto start = std::chrono::steady_clock::now();
        ASSERT_TRUE(consumer.poll(kSoon));
        ASSERT_LT(std::chrono::steady_clock::now() - start, 2s);
    }
}

// Whoever sends meanwhile might run a part of what the I/O thread has read, and be overtaken by it.
TEST_P(RemoteWait, samples_come_in_order_beside_others_who_send) {
    constexpr std::uint64_t kSamples = test::kSanitizer ? 5'000 : 50'000;
    static_cast<void>(
        server.create_topic("news", {.capacity = 256, .slow = SlowSubscriber::block}).value());
    Subscription news =
        client.subscribe("news", SubscribeOptions{.slow = SlowSubscriber::block}).value();
    std::atomic<bool> over{false};
    static_cast<void>(server.create_queue("others", {.kind = QueueKind::circular}).value());
    std::vector<std::thread> senders(4);
    for (std::thread& sender : senders) {
        sender = std::thread([&] {
            Queue others = client.queue("others").value();
            while (!over) {
                std::vector<Future<std::uint64_t>> batch(12);
                for (auto& future : batch) {
                    future = others.offer_async(Message::text("t", "x"), kSoon);
                }
                for (auto& future : batch) {
                    EXPECT_TRUE(future.get(kSoon));
                }
            }
        });
    }
    std::thread publishes([&] {
        for (std::uint64_t i = 0; i < kSamples && !over; ++i) {
            EXPECT_TRUE(server.publish(Message::text("news", std::to_string(i)), kSoon));
        }
    });
    for (std::uint64_t i = 0; i < kSamples && !HasFailure(); ++i) {
        const auto sample = news.next(kSoon);
        EXPECT_EQ(sample ? sample->text() : to_string(sample.error()), std::to_string(i));
    }
    over = true;
    publishes.join();
    for (std::thread& sender : senders) {
        sender.join();
    }
}

TEST_P(RemoteWait, many_callers_of_one_connection_get_their_own_answers) {
    std::atomic<int> good{0};
    std::vector<std::thread> callers;
    for (int i = 0; i < 4; ++i) {
        callers.emplace_back([&, i] {
            const std::string name = "queue-" + std::to_string(i);
            Queue own = client.queue(name, {.wait = kSoon}).value();
            for (int round = 0; round < 50; ++round) {
                const std::string text = name + " " + std::to_string(round);
                const auto offered = own.offer(Message::text("t", text), kSoon);
                const auto polled = own.poll(kSoon);
                good += offered && polled && polled->text() == text ? 1 : 0;
            }
        });
    }
    for (int i = 0; i < 4; ++i) {
        static_cast<void>(server.create_queue("queue-" + std::to_string(i)).value());
    }
    for (std::thread& caller : callers) {
        caller.join();
    }
    EXPECT_EQ(good, 200);
}

INSTANTIATE_TEST_SUITE_P(Ways, RemoteWait, test::kAllWays, test::name_of_way);

}  // namespace
}  // namespace telpher
