// Durable messages of asynchronous offers: confirmed together, in order, as far as there is room, and never blocking
// who offers.
#include "src/client/domain_core.hpp"
#include "tests/unit/support/fire_and_forget.hpp"
#include "tests/unit/support/scratch_domain.hpp"
#include "tests/unit/support/scratch_folder.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

namespace telpher::test {
namespace {

using namespace std::chrono_literals;

class DurableAsync : public ::testing::Test {
  protected:
    static constexpr auto kLong = 20s;

    static Message stored(int number) {
        return Message::text("t", std::to_string(number)).durable();
    }
    Server open() { return domain_.open({.log_directory = folder_.file("log")}); }
    static Queue make(Server& server, const std::string& name, std::uint32_t capacity) {
        return server
            .create_queue(name,
                          {.capacity = capacity,
                           .kind = QueueKind::durable,
                           .delivery = DeliveryMode::at_least_once})
            .value();
    }
    std::uint64_t syncs() {
        return detail::DomainCore::of(connect(domain_.uri()).value())
            ->attachment()
            .log()
            .control()
            .syncs.load();
    }
    static std::vector<int> all(Queue& queue) {
        std::vector<int> numbers;
        for (;;) {
            auto delivery = queue.poll(0ms);
            if (!delivery) {
                return numbers;
            }
            numbers.push_back(std::stoi(std::string(delivery->text())));
            EXPECT_TRUE(delivery->ack());
        }
    }
    static std::vector<int> up_to(int end, int begin = 0) {
        std::vector<int> numbers;
        for (int i = begin; i < end; ++i) {
            numbers.push_back(i);
        }
        return numbers;
    }

    ScratchFolder folder_;
    ScratchDomain domain_;
};

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

TEST_F(DurableAsync, wait_for_room_in_order_and_keep_their_timeout) {
    Server server = open();
    Queue queue = make(server, "q", 4);
    EXPECT_EQ(queue.offer_async(stored(-1), 0s).get(kLong).status(), Status::ok);
    EXPECT_EQ(all(queue), std::vector<int>{-1});
    std::vector<Future<std::uint64_t>> offers;
    for (int i = 0; i < 8; ++i) {
        offers.push_back(queue.offer_async(stored(i), kLong));
    }
    for (int i = 0; i < 4; ++i) {
        ASSERT_TRUE(offers[static_cast<std::size_t>(i)].get(kLong));
    }
    EXPECT_EQ(queue.offer_async(stored(99), 0s).get(kLong).status(), Status::queue_full);
    auto late = queue.offer_async(stored(98), 20ms);
    EXPECT_EQ(late.get(kLong).status(), Status::timed_out);
    EXPECT_FALSE(offers[4].ready());
    EXPECT_EQ(all(queue), up_to(4));
    for (int i = 4; i < 8; ++i) {
        ASSERT_TRUE(offers[static_cast<std::size_t>(i)].get(kLong));
    }
    EXPECT_EQ(all(queue), up_to(8, 4));
}

// Producers of other handles take the room that was found: what is in the log already waits behind it.
TEST_F(DurableAsync, keep_their_order_where_others_take_their_room) {
    constexpr int kMessages = 400;
    Server server = open();
    Queue queue = make(server, "q", 2);
    Queue other = connect(domain_.uri()).value().queue("q").value();
    std::jthread rival([&](const std::stop_token& stop) {
        while (!stop.stop_requested()) {
            static_cast<void>(other.offer(Message::text("rival", "x"), 1ms));
        }
    });
    std::vector<Future<std::uint64_t>> offers;
    for (int i = 0; i < kMessages; ++i) {
        offers.push_back(queue.offer_async(stored(i), kLong));
    }
    std::vector<int> seen;
    while (seen.size() < kMessages) {
        Delivery delivery = queue.poll(kLong).value();
        if (delivery.topic() != "rival") {
            seen.push_back(std::stoi(std::string(delivery.text())));
        }
        ASSERT_TRUE(delivery.ack());
    }
    rival.request_stop();
    EXPECT_EQ(seen, up_to(kMessages));
    for (auto& offer : offers) {
        EXPECT_TRUE(offer.get(kLong));
    }
    rival.join();
    queue = Queue{};
    other = Queue{};
    EXPECT_TRUE(server.verify().value().problems.empty());
}

TEST_F(DurableAsync, of_one_queue_without_room_hold_up_no_other) {
    Server server = open();
    Queue full = make(server, "full", 1);
    Queue free = make(server, "free", 100);
    ASSERT_TRUE(full.offer(stored(0), kLong));
    auto waits = full.offer_async(stored(1), kLong);
    for (int i = 0; i < 50; ++i) {
        ASSERT_TRUE(free.offer_async(stored(i), kLong).get(kLong));
    }
    EXPECT_FALSE(waits.ready());
    EXPECT_EQ(all(full), std::vector<int>{0});
    EXPECT_TRUE(waits.get(kLong));
}

TEST_F(DurableAsync, with_ids_are_remembered) {
    Server server = open();
    Queue queue = server
                      .create_queue("q",
                                    {.capacity = 64,
                                     .kind = QueueKind::durable,
                                     .delivery = DeliveryMode::at_least_once,
                                     .idempotency = Idempotency{}})
                      .value();
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

TEST_F(DurableAsync, whose_room_others_took_hold_up_no_other_queue_and_keep_their_timeout) {
    constexpr int kMessages = 100;
    Server server = open();
    Queue queue = make(server, "q", kMessages);
    Queue other = connect(domain_.uri()).value().queue("q").value();
    Queue free = make(server, "free", 100);
    ASSERT_TRUE(free.offer_async(stored(0), kLong).get(kLong));  // the thread runs
    std::vector<Future<std::uint64_t>> offers;
    for (int i = 0; i < kMessages; ++i) {
        offers.push_back(queue.offer_async(stored(i), 500ms));
    }
    int taken = 0;
    while (other.offer(Message::text("rival", "-1"), 0ms)) {
        ++taken;
    }
    for (int i = 0; i < 20; ++i) {
        ASSERT_TRUE(free.offer_async(stored(i), kLong).get(kLong));
    }
    int confirmed = 0;
    for (auto& offer : offers) {
        const Status status = offer.get(kLong).status();
        EXPECT_TRUE(status == Status::ok || status == Status::timed_out) << to_string(status);
        confirmed += static_cast<int>(status == Status::ok);
    }
    EXPECT_EQ(confirmed + taken, kMessages);
    std::vector<int> expected(static_cast<std::size_t>(taken), -1);
    std::vector<int> seen = all(queue);
    std::sort(seen.begin(), seen.end());
    for (int i = 0; i < confirmed; ++i) {
        expected.push_back(i);
    }
    EXPECT_EQ(seen, expected) << "the first ones, whichever came before the rivals";
    queue = Queue{};
    other = Queue{};
    free = Queue{};
    EXPECT_TRUE(server.verify().value().problems.empty());
    offers.clear();
    server = Server{};
    ASSERT_TRUE(remove_domain(domain_.name(), true));
    server = open();
    queue = server.queue("q").value();
    EXPECT_EQ(all(queue), std::vector<int>{})
        << "what was taken, and what was given up, does not come again";
}

TEST_F(DurableAsync, keep_their_order_while_room_comes_and_goes) {
    constexpr int kMessages = 3000;
    Server server = open();
    Queue queue = make(server, "q", 4);
    std::vector<int> seen;
    std::jthread consumer([&] {
        while (seen.size() < kMessages) {
            Delivery delivery = queue.poll(kLong).value();
            seen.push_back(std::stoi(std::string(delivery.text())));
            EXPECT_TRUE(delivery.ack());
        }
    });
    std::vector<Future<std::uint64_t>> offers;
    for (int i = 0; i < kMessages; ++i) {
        offers.push_back(queue.offer_async(stored(i), kLong));
        if (i % 7 == 0) {
            EXPECT_TRUE(offers.back().get(kLong));
        }
    }
    consumer.join();
    EXPECT_EQ(seen, up_to(kMessages));
}

TEST_F(DurableAsync, to_a_queue_without_memory_for_them_cost_no_disk) {
    Server server = open();
    Queue queue = server
                      .create_queue("q",
                                    {.capacity = 64,
                                     .kind = QueueKind::durable,
                                     .byte_budget = 1024,
                                     .delivery = DeliveryMode::at_least_once})
                      .value();
    std::vector<Future<std::uint64_t>> offers;
    for (int i = 0; i < 20; ++i) {
        offers.push_back(queue.offer_async(stored(i), 200ms));
    }
    std::size_t confirmed = 0;
    for (auto& offer : offers) {
        const Status status = offer.get(kLong).status();
        EXPECT_TRUE(status == Status::ok || status == Status::timed_out) << to_string(status);
        confirmed += static_cast<std::size_t>(status == Status::ok);
    }
    EXPECT_LE(syncs(), confirmed + 3) << "and the queue's own records";
    EXPECT_EQ(all(queue).size(), confirmed);
}

TEST_F(DurableAsync, for_later_take_no_place_in_the_queue) {
    Server server = open();
    Queue queue = make(server, "q", 1);
    std::vector<Future<std::uint64_t>> offers;
    for (int i = 0; i < 20; ++i) {
        offers.push_back(queue.offer_async(stored(i).deliver_after(20ms), 0s));
    }
    offers.push_back(queue.offer_async(stored(99), 0s));
    for (auto& offer : offers) {
        EXPECT_TRUE(offer.get(kLong));
    }
    std::size_t seen = 0;
    for (; seen < offers.size(); ++seen) {
        ASSERT_TRUE(queue.poll(kLong).value().ack());
    }
}

TEST_F(DurableAsync, hear_that_their_queue_is_gone_and_that_they_came_before) {
    Server server = open();
    Queue queue = server
                      .create_queue("q",
                                    {.capacity = 1,
                                     .kind = QueueKind::durable,
                                     .delivery = DeliveryMode::at_least_once,
                                     .idempotency = Idempotency{}})
                      .value();
    const auto first = queue.offer_async(stored(0).with_request_id("a"), kLong).get(kLong);
    ASSERT_TRUE(first);
    EXPECT_EQ(queue.offer_async(stored(0).with_request_id("a"), kLong).get(kLong).value(), *first);
    Queue full = make(server, "full", 1);
    ASSERT_TRUE(full.offer(stored(0), kLong));
    auto waits = full.offer_async(stored(1), kLong);
    auto none = queue.offer_async(stored(1).with_request_id("b"), kLong);
    ASSERT_TRUE(server.remove_queue("full"));
    EXPECT_EQ(waits.get(kLong).status(), Status::queue_not_found);
    EXPECT_EQ(full.offer_async(stored(2), kLong).get(kLong).status(), Status::queue_not_found);
    ASSERT_TRUE(server.remove_queue("q"));
    EXPECT_EQ(none.get(kLong).status(), Status::queue_not_found);
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
