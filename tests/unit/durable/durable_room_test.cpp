// Durable messages of asynchronous offers that wait for room: in order, no longer than they may, in nobody's way.
#include "tests/unit/durable/durable_async.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

namespace telpher::test {
namespace {

using namespace std::chrono_literals;

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
    Queue queue = make(server, "q", 64, {.byte_budget = 1024});
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

TEST_F(DurableAsync, offered_together_hear_a_stop_request_and_the_end_of_their_queue) {
    Server server = open();
    Queue queue = make(server, "q", 2);
    const std::vector<Message> messages{stored(0), stored(1), stored(2)};
    EXPECT_EQ(queue.offer_n(messages).value(), 2U) << "as many as have room";
    std::stop_source stop;
    std::jthread later([&] {
        std::this_thread::sleep_for(20ms);
        stop.request_stop();
    });
    EXPECT_EQ(queue.offer_n(messages, kLong, stop.get_token()).status(), Status::cancelled);
    later.join();
    const std::uint64_t before = syncs();
    std::jthread remover([&] {
        std::this_thread::sleep_for(20ms);
        EXPECT_TRUE(server.remove_queue("q"));
    });
    EXPECT_EQ(queue.offer_n(messages, kLong).status(), Status::queue_not_found);
    remover.join();
    EXPECT_EQ(queue.offer_n(messages, kLong).status(), Status::queue_not_found);
    EXPECT_EQ(queue.offer(stored(0), kLong).status(), Status::queue_not_found);
    EXPECT_EQ(syncs() - before, 1U) << "that the queue was removed, and nothing else";
}

TEST_F(DurableAsync, hear_that_their_queue_is_gone_and_that_they_came_before) {
    Server server = open();
    Queue queue = make(server, "q", 1, {.idempotency = Idempotency{}});
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

}  // namespace
}  // namespace telpher::test
