// Circular queues: never full, the oldest message gives way, and every drop is counted and told.

#include "tests/unit/support/scratch_domain.hpp"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <string>
#include <thread>
#include <vector>

namespace telpher::test {
namespace {

class CircularQueue : public testing::Test {
  protected:
    Queue make(std::uint32_t capacity) {
        return server_.create_queue("c", {.capacity = capacity, .kind = QueueKind::circular})
            .value();
    }
    static Message numbered(int number) { return Message::text("t", std::to_string(number)); }

    ScratchDomain domain_;
    Server server_ = domain_.open();
};

TEST_F(CircularQueue, keeps_the_newest_and_tells_once_how_many_it_dropped) {
    for (const std::uint32_t capacity : {1U, 2U, 3U, 4U, 7U, 100U}) {
        Queue queue = make(capacity);
        const int offers = static_cast<int>(capacity) * 3 + 2;
        for (int i = 1; i <= offers; ++i) {
            EXPECT_EQ(queue.offer(numbered(i)).value(), static_cast<std::uint64_t>(i));
        }
        const auto dropped = static_cast<std::uint64_t>(offers) - capacity;
        const QueueStatus status = queue.status().value();
        EXPECT_EQ(status.kind, "circular");
        EXPECT_EQ(status.depth, capacity);
        EXPECT_EQ(status.dropped, dropped);
        EXPECT_EQ(status.polled, 0U);
        EXPECT_EQ(status.offered, static_cast<std::uint64_t>(offers));
        for (std::uint32_t i = 1; i <= capacity; ++i) {
            const auto delivery = queue.poll();
            ASSERT_TRUE(delivery);
            EXPECT_EQ(delivery->text(), std::to_string(dropped + i));
            EXPECT_EQ(delivery->sequence(), dropped + i);
            EXPECT_EQ(delivery->dropped_before(), i == 1 ? dropped : 0);
        }
        EXPECT_EQ(queue.poll().status(), Status::queue_empty);
        EXPECT_EQ(queue.status()->polled, capacity);
        ASSERT_TRUE(server_.remove_queue("c"));
    }
}

TEST_F(CircularQueue, drops_for_loans_too_and_waits_for_nothing) {
    Queue queue = make(1);
    for (int i = 0; i < 3; ++i) {
        Loan loan = queue.loan("t", 8).value();
        EXPECT_TRUE(queue.offer(std::move(loan), std::chrono::hours(1)));
    }
    const auto delivery = queue.poll();
    EXPECT_EQ(delivery->sequence(), 3U);
    EXPECT_EQ(delivery->dropped_before(), 2U);
}

TEST_F(CircularQueue, a_moved_delivery_keeps_what_it_tells) {
    Queue queue = make(1);
    ASSERT_TRUE(queue.offer(numbered(1)) && queue.offer(numbered(2)));
    Delivery first = std::move(queue.poll().value());
    Delivery second;
    second = std::move(first);
    EXPECT_EQ(second.dropped_before(), 1U);
}

TEST_F(CircularQueue, a_removed_one_drops_nothing_and_accepts_nothing) {
    Queue queue = make(2);
    ASSERT_TRUE(queue.offer(numbered(1)) && queue.offer(numbered(2)));
    ASSERT_TRUE(server_.remove_queue("c"));
    EXPECT_EQ(queue.offer(numbered(3)).status(), Status::queue_not_found);
    EXPECT_EQ(queue.poll()->text(), "1");
    EXPECT_EQ(queue.poll()->text(), "2");
    EXPECT_EQ(queue.poll().status(), Status::queue_not_found);
}

TEST_F(CircularQueue, exists_with_its_kind_for_everybody) {
    Queue queue = make(2);
    const auto other = server_.create_queue("c", {.capacity = 2});
    EXPECT_EQ(other.status(), Status::mismatch);
    EXPECT_NE(other.error().detail.find("kind circular and capacity 2"), std::string::npos);
    EXPECT_NE(other.error().detail.find("kind bounded and capacity 2"), std::string::npos);
    ASSERT_TRUE(queue.offer(numbered(1)));
    Queue found = connect(domain_.uri()).value().queue("c").value();
    EXPECT_TRUE(found.offer(numbered(2)) && found.offer(numbered(3)));
    EXPECT_EQ(found.status()->dropped, 1U);
    EXPECT_EQ(
        server_.create_queue("d", {.capacity = 1, .kind = static_cast<QueueKind>(9)}).status(),
        Status::bad_request);
}

// Nothing is counted twice or not at all: offered = polled + dropped, and the drops that were told
// are the drops.
TEST_F(CircularQueue, between_threads_every_message_is_polled_or_dropped_and_told) {
    Queue queue = make(8);
    constexpr int kEach = 20'000;
    std::atomic<int> running{2};
    std::vector<std::thread> threads;
    for (int producer = 0; producer < 2; ++producer) {
        threads.emplace_back([&queue, &running, producer] {
            for (int i = 0; i < kEach; ++i) {
                EXPECT_TRUE(queue.offer(numbered(producer * kEach + i)));
            }
            --running;
        });
    }
    std::atomic<std::uint64_t> polled{0};
    std::atomic<std::uint64_t> told{0};
    for (int consumer = 0; consumer < 2; ++consumer) {
        threads.emplace_back([&] {
            std::array<int, 2> last{-1, -1};
            for (bool done = false; !done;) {
                done = running == 0;  // looked at first: one more round after the last offer
                while (const auto delivery = queue.poll()) {
                    const int number = std::stoi(std::string(delivery->text()));
                    int& before = last.at(static_cast<std::size_t>(number / kEach));
                    EXPECT_LT(before, number);
                    before = number;
                    ++polled;
                    told += delivery->dropped_before();
                }
            }
        });
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
    // The last drops may have happened after the last poll began.
    ASSERT_TRUE(queue.offer(numbered(0)));
    told += queue.poll()->dropped_before();
    const QueueStatus status = queue.status().value();
    EXPECT_EQ(polled + status.dropped, 2U * kEach);
    EXPECT_EQ(told, status.dropped);
    EXPECT_TRUE(server_.verify()->problems.empty());
}

}  // namespace
}  // namespace telpher::test
