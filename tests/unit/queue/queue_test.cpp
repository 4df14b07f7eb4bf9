// Offer and poll of one queue: order, numbers, capacity, figures.

#include "tests/unit/support/scratch_domain.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace telpher::test {
namespace {

class QueueTest : public testing::Test {
  protected:
    Queue make(std::uint32_t capacity) {
        return server_.create_queue("q", {.capacity = capacity}).value();
    }
    static Message numbered(int number) { return Message::text("order", std::to_string(number)); }

    ScratchDomain domain_;
    Server server_ = domain_.open();
};

TEST_F(QueueTest, what_was_offered_is_polled) {
    Queue queue = make(4);
    ASSERT_TRUE(queue.offer(Message::text("order", "2 espressos").with_request_id("17")));
    const auto order = queue.poll();
    ASSERT_TRUE(order);
    EXPECT_EQ(order->text(), "2 espressos");
    EXPECT_EQ(order->topic(), "order");
    EXPECT_EQ(order->request_id(), "17");
    EXPECT_EQ(order->type(), MessageType::offer);
    EXPECT_NE(order->timestamp_ms(), 0U);
    EXPECT_EQ(queue.poll().status(), Status::queue_empty);
}

TEST_F(QueueTest, sequence_numbers_count_from_1_at_both_ends) {
    Queue queue = make(3);
    for (std::uint64_t n = 1; n <= 10; ++n) {
        EXPECT_EQ(queue.offer(numbered(7)).value(), n);
        const auto delivery = queue.poll();
        EXPECT_EQ(delivery->sequence(), n);
    }
}

TEST_F(QueueTest, messages_come_out_in_the_order_they_went_in) {
    Queue queue = make(100);
    for (int lap = 0; lap < 3; ++lap) {
        for (int i = 0; i < 100; ++i) {
            ASSERT_TRUE(queue.offer(numbered(i)));
        }
        for (int i = 0; i < 100; ++i) {
            ASSERT_EQ(queue.poll().value().text(), std::to_string(i));
        }
    }
}

TEST_F(QueueTest, the_capacity_is_exact) {
    for (const std::uint32_t capacity : {1U, 2U, 3U, 5U, 8U, 100U}) {
        Queue queue = make(capacity);
        EXPECT_EQ(queue.capacity(), capacity);
        for (std::uint32_t i = 0; i < capacity; ++i) {
            ASSERT_TRUE(queue.offer(numbered(1)));
        }
        EXPECT_EQ(queue.offer(numbered(1)).status(), Status::queue_full);
        EXPECT_EQ(queue.status()->depth, capacity);
        ASSERT_TRUE(queue.poll());
        EXPECT_TRUE(queue.offer(numbered(1))) << "room for exactly one";
        EXPECT_EQ(queue.offer(numbered(1)).status(), Status::queue_full);
        ASSERT_TRUE(server_.remove_queue("q"));
    }
}

TEST_F(QueueTest, each_send_has_an_id_of_its_own) {
    Queue queue = make(50);
    const Message message = numbered(1);
    std::set<std::string> ids;
    for (int i = 0; i < 50; ++i) {
        ASSERT_TRUE(queue.offer(message));
        ids.insert(to_string(queue.poll()->id()));
    }
    std::thread([&] {
        ASSERT_TRUE(queue.offer(message));
        ids.insert(to_string(queue.poll()->id()));
    }).join();
    EXPECT_EQ(ids.size(), 51U);
}

TEST_F(QueueTest, expected_outcomes_carry_no_text) {
    Queue queue = make(1);
    EXPECT_TRUE(queue.poll().error().detail.empty());
    EXPECT_TRUE(queue.poll(std::chrono::milliseconds(1)).error().detail.empty());
    ASSERT_TRUE(queue.offer(numbered(1)));
    EXPECT_TRUE(queue.offer(numbered(1)).error().detail.empty());
}

TEST_F(QueueTest, status_tells_every_figure) {
    Queue queue = make(10);
    for (int i = 0; i < 5; ++i) {
        ASSERT_TRUE(queue.offer(Message::text("order", std::string(100, 'x'))));
    }
    ASSERT_TRUE(queue.poll());
    QueueStatus status = queue.status().value();
    // The clock of ages is the kernel's last tick, which comes late on a busy machine.
    for (int i = 0; i < 1000 && status.oldest_age < std::chrono::milliseconds(10); ++i) {
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
        status = queue.status().value();
    }
    EXPECT_EQ(status.name, "q");
    EXPECT_EQ(status.kind, "bounded");
    EXPECT_EQ(status.capacity, 10U);
    EXPECT_EQ(status.depth, 4U);
    EXPECT_EQ(status.bytes, 400U);
    EXPECT_EQ(status.offered, 5U);
    EXPECT_EQ(status.polled, 1U);
    EXPECT_EQ(status.dropped + status.expired + status.abandoned + status.redelivered, 0U);
    EXPECT_EQ(status.consumers, 1U);
    ASSERT_TRUE(status.oldest_age);
    EXPECT_GE(*status.oldest_age, std::chrono::milliseconds(10));
    EXPECT_FALSE(status.removed);
}

TEST_F(QueueTest, status_of_an_empty_queue_has_no_oldest_age) {
    Queue queue = make(2);
    EXPECT_FALSE(queue.status()->oldest_age);
    EXPECT_EQ(queue.status()->consumers, 0U);
    EXPECT_EQ(queue.status()->bytes, 0U);
}

TEST_F(QueueTest, consumers_count_only_while_they_hold_the_queue) {
    Queue queue = make(2);
    EXPECT_EQ(queue.poll().status(), Status::queue_empty);
    EXPECT_EQ(queue.status()->consumers, 1U);
    queue = Queue{};
    EXPECT_EQ(server_.queue("q")->status()->consumers, 0U);
}

TEST_F(QueueTest, several_handles_are_one_queue) {
    Queue first = make(4);
    Queue second = server_.queue("q").value();
    Queue copy = first;
    ASSERT_TRUE(first.offer(numbered(1)));
    ASSERT_TRUE(copy.offer(numbered(2)));
    EXPECT_EQ(second.poll()->text(), "1");
    EXPECT_EQ(second.poll()->text(), "2");
}

TEST_F(QueueTest, queues_of_one_domain_do_not_mix) {
    Queue first = make(4);
    Queue second = server_.create_queue("other", {.capacity = 4}).value();
    ASSERT_TRUE(first.offer(numbered(1)));
    EXPECT_EQ(second.poll().status(), Status::queue_empty);
    EXPECT_EQ(first.poll()->text(), "1");
}

TEST_F(QueueTest, a_message_passed_on_keeps_its_fields_and_gets_a_new_id) {
    Queue queue = make(4);
    ASSERT_TRUE(queue.offer(numbered(1).with_correlation_id("c-1")));
    auto delivery = queue.poll();
    const Message copy = *delivery;
    const MessageId id = delivery->id();
    delivery->release();
    ASSERT_TRUE(queue.offer(copy));
    const auto again = queue.poll();
    EXPECT_EQ(again->correlation_id(), "c-1");
    EXPECT_NE(again->id(), id);
}

TEST_F(QueueTest, a_default_queue_is_closed) {
    Queue none;
    EXPECT_FALSE(none);
    EXPECT_EQ(none.offer(numbered(1)).status(), Status::closed);
    EXPECT_EQ(none.poll().status(), Status::closed);
    EXPECT_EQ(none.status().status(), Status::closed);
    EXPECT_EQ(none.loan("t", 1).status(), Status::closed);
    none.close();
    EXPECT_TRUE(none.name().empty());
}

TEST_F(QueueTest, threads_at_both_ends_lose_and_duplicate_nothing) {
    constexpr int kThreads = 3;
    constexpr int kEach = 1'500;
    Queue queue = make(7);
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) {
        threads.emplace_back([&queue, t] {
            for (int i = 0; i < kEach; ++i) {
                ASSERT_TRUE(queue.offer(numbered(t * kEach + i), std::chrono::seconds(60)));
            }
        });
    }
    std::vector<std::vector<int>> got(kThreads);
    for (int t = 0; t < kThreads; ++t) {
        threads.emplace_back([&queue, &mine = got[static_cast<std::size_t>(t)]] {
            for (int i = 0; i < kEach; ++i) {
                const Delivery delivery = queue.poll(std::chrono::seconds(60)).value();
                mine.push_back(std::stoi(std::string(delivery.text())));
            }
        });
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
    std::vector<bool> seen(kThreads * kEach);
    for (const auto& mine : got) {
        for (const int number : mine) {
            EXPECT_FALSE(seen[static_cast<std::size_t>(number)]) << number << " came twice";
            seen[static_cast<std::size_t>(number)] = true;
        }
    }
    EXPECT_EQ(std::count(seen.begin(), seen.end(), true), kThreads * kEach);
    EXPECT_EQ(queue.status()->offered, static_cast<std::uint64_t>(kThreads * kEach));
    EXPECT_TRUE(server_.verify()->problems.empty());
}

}  // namespace
}  // namespace telpher::test
