// Durable messages of asynchronous offers: confirmed together and in order, never blocking who offers.
#include "tests/unit/durable/durable_async.hpp"

#include "tests/unit/support/fire_and_forget.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

namespace telpher::test {
namespace {

using namespace std::chrono_literals;

TEST_F(DurableAsync, are_confirmed_together_in_order_and_there_after_a_restart) {
    constexpr int kMessages = 1000;
    Server server = open();
    Queue queue = make(server, "q", kMessages);
    const std::uint64_t before = syncs();
    std::vector<Future<std::uint64_t>> offers;
    for (int i = 0; i < kMessages; ++i) {
        offers.push_back(queue.offer_async(stored(i), kLong));
    }
    std::uint64_t last = 0;
    for (auto& offer : offers) {
        const auto number = offer.get(kLong);
        ASSERT_TRUE(number) << to_string(number.error());
        EXPECT_GT(*number, last);
        last = *number;
    }
    EXPECT_LT(syncs() - before, kMessages / 4) << "many with one sync";
    queue = Queue{};
    server = Server{};
    ASSERT_TRUE(remove_domain(domain_.name(), true));
    server = open();
    queue = server.queue("q").value();
    EXPECT_EQ(all(queue), up_to(kMessages));
    EXPECT_TRUE(server.verify().value().problems.empty());
}

TEST_F(DurableAsync, with_ids_are_remembered) {
    Server server = open();
    Queue queue = make(server, "q", 64, {.idempotency = Idempotency{}});
    std::vector<Future<std::uint64_t>> offers;
    for (int i = 0; i < 20; ++i) {
        offers.push_back(
            queue.offer_async(stored(i / 2).with_request_id(std::to_string(i / 2)), kLong));
    }
    for (auto& offer : offers) {
        const auto number = offer.get(kLong);
        EXPECT_TRUE(number) << to_string(number.error());
    }
    EXPECT_EQ(all(queue), up_to(10));
}

TEST_F(DurableAsync, resume_coroutines_and_are_waited_for_in_them) {
    Server server = open();
    Queue queue = make(server, "q", 1000);
    std::atomic<int> resumed{0};
    const auto chain = [](Queue to, std::atomic<int>& count) -> FireAndForget {
        for (int i = 0; i < 20; ++i) {
            const auto number = co_await to.offer_async(stored(i), kLong);
            EXPECT_TRUE(number);
            // On the parker's thread: it serves the others meanwhile.
            EXPECT_TRUE(to.offer_async(stored(100 + i), kLong).get(kLong));
            count.fetch_add(1);
        }
    };
    for (int i = 0; i < 10; ++i) {
        chain(queue, resumed);
    }
    const auto end = std::chrono::steady_clock::now() + kLong;
    while (resumed.load() < 200 && std::chrono::steady_clock::now() < end) {
        std::this_thread::sleep_for(1ms);
    }
    EXPECT_EQ(resumed.load(), 200);
    EXPECT_EQ(all(queue).size(), 400U);
}

// More than all places where messages wait for the disk.
TEST_F(DurableAsync, of_many_clients_do_not_wait_for_each_others_places) {
    constexpr std::size_t kClients = 8;
    constexpr std::size_t kEach = 300;
    Server server = open();
    Queue queue = make(server, "q", 4096);
    std::vector<Queue> queues;
    for (std::size_t i = 0; i < kClients; ++i) {
        queues.push_back(connect(domain_.uri()).value().queue("q").value());
    }
    for (int round = 0; round < 3; ++round) {
        std::vector<Future<std::uint64_t>> offers;
        for (std::size_t i = 0; i < kEach; ++i) {
            for (Queue& one : queues) {
                offers.push_back(one.offer_async(stored(0), kLong));
            }
        }
        for (auto& offer : offers) {
            const auto number = offer.get(kLong);
            ASSERT_TRUE(number) << to_string(number.error());
        }
        EXPECT_EQ(all(queue).size(), kClients * kEach);
    }
}

TEST_F(DurableAsync, bad_input_is_told_at_once) {
    Server server = open();
    Queue plain = server.create_queue("plain", {.capacity = 8}).value();
    EXPECT_EQ(plain.offer_async(stored(0), kLong).get(0s).status(), Status::bad_request);
    Queue queue = make(server, "q", 8);
    EXPECT_EQ(queue.offer_async(stored(0), -1s).get(0s).status(), Status::bad_request);
    EXPECT_EQ(queue.offer_async(Message::text("t", std::string(64U << 20U, 'x')).durable(), kLong)
                  .get(0s)
                  .status(),
              Status::message_too_large);
    std::stop_source stop;
    stop.request_stop();
    EXPECT_EQ(queue.offer_async(stored(0), kLong, stop.get_token()).get(0s).status(),
              Status::cancelled);
}

TEST_F(DurableAsync, that_wait_end_with_their_handle_and_may_be_dropped) {
    Server server = open();
    Queue queue = make(server, "q", 1);
    ASSERT_TRUE(queue.offer(stored(0), kLong));
    auto waits = queue.offer_async(stored(1), kLong);
    { const auto dropped = queue.offer_async(stored(2), kLong); }
    queue.close();
    EXPECT_EQ(waits.get(kLong).status(), Status::closed);
    queue = server.queue("q").value();
    EXPECT_EQ(all(queue), std::vector<int>{0});
    // On their way to the disk they are sent, whoever waits for them.
    Queue wide = make(server, "wide", 100);
    for (int i = 0; i < 100; ++i) {
        static_cast<void>(wide.offer_async(stored(i), kLong));
    }
    std::vector<int> seen;
    while (seen.size() < 100) {
        Delivery delivery = wide.poll(kLong).value();
        seen.push_back(std::stoi(std::string(delivery.text())));
        ASSERT_TRUE(delivery.ack());
    }
    EXPECT_EQ(seen, up_to(100));
}

}  // namespace
}  // namespace telpher::test
