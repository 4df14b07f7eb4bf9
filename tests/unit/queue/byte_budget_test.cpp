// Queues that are full in bytes before they are full in messages.

#include "tests/unit/support/scratch_domain.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <thread>
#include <vector>

namespace telpher::test {
namespace {

using namespace std::chrono_literals;

class ByteBudget : public ::testing::Test {
  protected:
    Queue make(const char* name, QueueKind kind = QueueKind::bounded) {
        return server_.create_queue(name, {.capacity = 100, .kind = kind, .byte_budget = 1024})
            .value();
    }
    static Message of(std::size_t bytes) { return Message::text("t", std::string(bytes, 'x')); }
    ScratchDomain domain_;
    Server server_ = domain_.open();
};

TEST_F(ByteBudget, is_full_when_the_memory_of_its_messages_reaches_it) {
    Queue queue = make("q");
    for (int i = 0; i < 8; ++i) {
        ASSERT_TRUE(queue.offer(of(10))) << i;  // 128 bytes each
    }
    EXPECT_EQ(queue.offer(of(10)).status(), Status::queue_full);
    EXPECT_EQ(queue.offer(of(10), 20ms).status(), Status::timed_out);
    static_cast<void>(queue.poll());
    EXPECT_EQ(queue.offer(of(150)).status(), Status::queue_full) << "256 bytes do not fit";
    EXPECT_TRUE(queue.offer(of(10)));
    static_cast<void>(queue.poll());
    static_cast<void>(queue.poll());
    EXPECT_TRUE(queue.offer(of(150)));
}

TEST_F(ByteBudget, a_message_larger_than_the_budget_can_never_be_sent) {
    Queue queue = make("q");
    const auto refused = queue.offer(of(2000), 10s);
    EXPECT_EQ(refused.status(), Status::message_too_large);
    EXPECT_NE(refused.error().detail.find("byte budget of queue 'q' is 1024"), std::string::npos);
    EXPECT_TRUE(queue.offer(of(900))) << "an empty queue takes any that is not larger";
    EXPECT_EQ(queue.offer(of(1)).status(), Status::queue_full);
    auto loan = queue.loan("t", 2000).value();
    EXPECT_EQ(queue.offer(std::move(loan)).status(), Status::message_too_large);
}

TEST_F(ByteBudget, a_circular_queue_drops_until_there_is_room) {
    Queue queue = make("q", QueueKind::circular);
    for (int i = 0; i < 8; ++i) {
        ASSERT_TRUE(queue.offer(of(10)));
    }
    ASSERT_TRUE(queue.offer(of(700)));
    EXPECT_EQ(queue.status().value().dropped, 8U);
    EXPECT_EQ(queue.poll().value().payload().size(), 700U);
}

TEST_F(ByteBudget, who_waits_for_bytes_is_woken_when_there_are_enough) {
    Queue queue = make("q");
    for (int i = 0; i < 8; ++i) {
        ASSERT_TRUE(queue.offer(of(10)));
    }
    std::jthread large([&queue] { EXPECT_TRUE(queue.offer(of(800), 30s)); });
    std::jthread small([&queue] { EXPECT_TRUE(queue.offer(of(10), 30s)); });
    std::this_thread::sleep_for(50ms);
    const auto start = std::chrono::steady_clock::now();
    for (int polled = 0; polled < 10;) {
        polled += queue.poll(10s) ? 1 : 0;
    }
    EXPECT_LT(std::chrono::steady_clock::now() - start, 5s);
}

TEST_F(ByteBudget, another_budget_is_a_mismatch) {
    const Queue queue = make("q");
    const auto other = server_.create_queue("q", {.capacity = 100, .byte_budget = 2048});
    EXPECT_EQ(other.status(), Status::mismatch);
    EXPECT_NE(other.error().detail.find("byte_budget 1024"), std::string::npos);
}

// Goal: through many laps and refusals, a queue is never over its budget by more than the messages
// of producers at work, and never full when it is empty.
TEST_F(ByteBudget, holds_under_two_producers_and_one_consumer) {
    Queue queue = make("q");
    constexpr int kEach = 5000;
    std::vector<std::jthread> producers;
    for (unsigned p = 0; p < 2; ++p) {
        producers.emplace_back([&queue, p] {
            for (unsigned i = 0; i < kEach; ++i) {
                ASSERT_TRUE(queue.offer(of((i * 37 + p) % 500), 30s));
            }
        });
    }
    for (int i = 0; i < 2 * kEach; ++i) {
        ASSERT_TRUE(queue.poll(30s)) << i;
        if (i % 100 == 0) {
            EXPECT_LE(queue.status().value().bytes, 1024U + 1024U);
        }
    }
}

}  // namespace
}  // namespace telpher::test
