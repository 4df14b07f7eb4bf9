// The returns lane: a message that was polled and put back comes first, once.

#include "src/broker/queue_core.hpp"
#include "tests/unit/support/scratch_domain.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <thread>
#include <vector>

namespace telpher::test {
namespace {

using namespace std::chrono_literals;
using detail::QueueCore;

class Returns : public ::testing::Test {
  protected:
    Returns() {
        for (int i = 1; i <= 3; ++i) {
            static_cast<void>(queue_.offer(Message::text("n", std::to_string(i))));
        }
    }
    std::string next() {
        const auto delivery = queue_.poll();
        return delivery ? std::string(delivery->text()) : std::string(to_string(delivery.status()));
    }
    ScratchDomain domain_;
    Server server_ = domain_.open();
    Queue queue_ = server_.create_queue("q", {.capacity = 4}).value();
};

TEST_F(Returns, what_is_put_back_is_polled_before_the_others_in_the_order_of_the_return) {
    Delivery first = queue_.poll().value();
    Delivery second = queue_.poll().value();
    ASSERT_EQ(QueueCore::of(queue_).put_back(first), Status::ok);
    EXPECT_FALSE(first) << "it is no longer ours";
    ASSERT_EQ(QueueCore::of(queue_).put_back(second), Status::ok);
    EXPECT_EQ(next(), "1");
    EXPECT_EQ(next(), "2");
    EXPECT_EQ(next(), "3");
    EXPECT_EQ(next(), "queue_empty");
    EXPECT_EQ(queue_.status().value().redelivered, 2U);
}

TEST_F(Returns, is_counted_in_depth_and_bytes_seen_by_peek_and_taken_by_purge) {
    Delivery first = queue_.poll().value();
    ASSERT_EQ(QueueCore::of(queue_).put_back(first), Status::ok);
    const QueueStatus status = queue_.status().value();
    EXPECT_EQ(status.depth, 3U);
    EXPECT_EQ(status.bytes, 3U);
    EXPECT_EQ(queue_.peek().value().text(), "1");
    EXPECT_EQ(queue_.purge().value(), 3U);
    EXPECT_EQ(queue_.status().value().depth, 0U);
    EXPECT_EQ(next(), "queue_empty");
}

TEST_F(Returns, a_message_that_was_put_back_has_no_number) {
    EXPECT_EQ(queue_.poll().value().sequence(), 1U);
    Delivery second = queue_.poll().value();
    EXPECT_EQ(second.sequence(), 2U);
    ASSERT_EQ(QueueCore::of(queue_).put_back(second), Status::ok);
    EXPECT_EQ(queue_.poll().value().sequence(), 0U);
    EXPECT_EQ(queue_.poll().value().sequence(), 3U);
}

TEST_F(Returns, a_return_wakes_who_waits) {
    static_cast<void>(queue_.poll());
    static_cast<void>(queue_.poll());
    Delivery last = queue_.poll().value();
    std::jthread waiter([this] { EXPECT_EQ(queue_.poll(30s).value().text(), "3"); });
    std::this_thread::sleep_for(100ms);
    ASSERT_EQ(QueueCore::of(queue_).put_back(last), Status::ok);
}

TEST_F(Returns, the_lane_has_an_end_and_what_does_not_fit_stays_with_its_holder) {
    std::vector<Delivery> held;
    Status status = Status::ok;
    std::uint64_t returned = 0;
    Queue many = server_.create_queue("many", {.capacity = 40}).value();
    for (int i = 0; i < 40; ++i) {
        ASSERT_TRUE(many.offer(Message::text("n", std::to_string(i))));
    }
    for (int i = 0; i < 40; ++i) {
        held.push_back(many.poll().value());
    }
    for (Delivery& delivery : held) {
        ASSERT_TRUE(many.offer(Message::text("n", "new")));
        status = QueueCore::of(many).put_back(delivery);
        ASSERT_EQ(to_string(status), "ok");
        ++returned;
    }
    EXPECT_EQ(returned, 40U);
    held.clear();
    Queue tiny = server_.create_queue("tiny", {.capacity = 1}).value();
    returned = 0;
    for (int i = 0; i < 20; ++i) {
        ASSERT_TRUE(tiny.offer(Message::text("n", std::to_string(i))));
        held.push_back(tiny.poll().value());
    }
    for (Delivery& delivery : held) {
        status = QueueCore::of(tiny).put_back(delivery);
        if (status != Status::ok) {
            EXPECT_EQ(to_string(status), "queue_full");
            EXPECT_TRUE(delivery);
            EXPECT_FALSE(delivery.text().empty());
        }
        returned += status == Status::ok ? 1U : 0U;
    }
    EXPECT_EQ(returned, 15U);
    held.clear();
    EXPECT_EQ(server_.verify().value().problems, std::vector<std::string>{});
}

TEST_F(Returns, only_to_the_queue_it_came_from) {
    Queue other = server_.create_queue("other", {.capacity = 4}).value();
    Delivery first = queue_.poll().value();
    EXPECT_EQ(QueueCore::of(other).put_back(first), Status::bad_request);
    Delivery none;
    EXPECT_EQ(QueueCore::of(queue_).put_back(none), Status::bad_request);
}

TEST_F(Returns, what_is_left_in_the_lane_of_a_removed_queue_is_dropped_and_its_memory_comes_back) {
    Delivery first = queue_.poll().value();
    ASSERT_EQ(QueueCore::of(queue_).put_back(first), Status::ok);
    ASSERT_TRUE(server_.remove_queue("q"));
    EXPECT_EQ(next(), "1") << "it is still handed out";
    Delivery second = queue_.poll().value();
    ASSERT_EQ(QueueCore::of(queue_).put_back(second), Status::ok);
    queue_ = {};
    ASSERT_TRUE(server_.create_queue("another", {.capacity = 1}));
    const VerifyReport report = server_.verify().value();
    EXPECT_EQ(report.problems, std::vector<std::string>{});
    EXPECT_EQ(report.chunks_offered, 0U);
}

// Goal: messages that are put back again and again by several threads are each handed over for good
// exactly once.
TEST_F(Returns, threads_that_put_back_at_random_lose_and_double_nothing) {
    constexpr int kMessages = 20'000;
    while (queue_.poll()) {
    }
    std::vector<std::atomic<int>> seen(kMessages);
    std::atomic<int> done{0};
    std::vector<std::jthread> consumers;
    for (unsigned c = 0; c < 2; ++c) {
        consumers.emplace_back([&, c] {
            unsigned round = c;
            while (done.load() < kMessages) {
                auto delivery = queue_.poll(1ms);
                if (!delivery) {
                    continue;
                }
                if (++round % 3 == 0 && QueueCore::of(queue_).put_back(*delivery) == Status::ok) {
                    continue;
                }
                seen[static_cast<std::size_t>(std::stoi(std::string(delivery->text())))] += 1;
                ++done;
            }
        });
    }
    for (int i = 0; i < kMessages; ++i) {
        ASSERT_TRUE(queue_.offer(Message::text("n", std::to_string(i)), 30s));
    }
    consumers.clear();
    for (const auto& count : seen) {
        ASSERT_EQ(count.load(), 1);
    }
    EXPECT_EQ(server_.verify().value().problems, std::vector<std::string>{});
}

}  // namespace
}  // namespace telpher::test
