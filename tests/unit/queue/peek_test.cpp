// peek: the oldest message, whole, left where it is.

#include "tests/unit/support/scratch_domain.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <string>
#include <thread>

namespace telpher::test {
namespace {

using namespace std::chrono_literals;

class Peek : public testing::Test {
  protected:
    ScratchDomain domain_;
    Server server_ = domain_.open();
    Queue queue_ = server_.create_queue("q", {.capacity = 4}).value();
};

TEST_F(Peek, shows_the_oldest_message_and_takes_nothing) {
    EXPECT_EQ(queue_.peek().status(), Status::queue_empty);
    ASSERT_TRUE(queue_.offer(Message::text("order", "1").with_request_id("r")));
    ASSERT_TRUE(queue_.offer(Message::text("order", "2")));
    for (int i = 0; i < 3; ++i) {
        const auto message = queue_.peek();
        ASSERT_TRUE(message);
        EXPECT_EQ(message->text(), "1");
        EXPECT_EQ(message->request_id(), "r");
        EXPECT_EQ(queue_.status()->depth, 2U);
    }
    EXPECT_EQ(queue_.poll()->text(), "1");
    EXPECT_EQ(queue_.peek()->text(), "2");
    EXPECT_EQ(queue_.poll()->text(), "2");
    EXPECT_EQ(queue_.peek().status(), Status::queue_empty);
}

TEST_F(Peek, finds_the_oldest_on_every_lap) {
    for (int i = 0; i < 40; ++i) {
        ASSERT_TRUE(queue_.offer(Message::text("t", std::to_string(i))));
        EXPECT_EQ(queue_.peek()->text(), std::to_string(i));
        ASSERT_TRUE(queue_.poll());
    }
}

TEST_F(Peek, passes_over_what_has_expired) {
    ASSERT_TRUE(queue_.offer(Message::text("t", "old").expires_in(1ms)));
    ASSERT_TRUE(queue_.offer(Message::text("t", "new")));
    std::this_thread::sleep_for(5ms);
    EXPECT_EQ(queue_.peek()->text(), "new");
    EXPECT_EQ(queue_.status()->depth, 2U);
    EXPECT_EQ(queue_.status()->expired, 0U);
}

TEST_F(Peek, of_the_largest_message_is_whole) {
    const std::string text(60'000, 'x');
    ASSERT_TRUE(queue_.offer(Message::text("t", text)));
    EXPECT_EQ(queue_.peek()->text(), text);
}

TEST_F(Peek, tells_the_end_of_a_queue_and_of_a_handle) {
    ASSERT_TRUE(queue_.offer(Message::text("t", "rest")));
    ASSERT_TRUE(server_.remove_queue("q"));
    EXPECT_EQ(queue_.peek()->text(), "rest");
    ASSERT_TRUE(queue_.poll());
    EXPECT_EQ(queue_.peek().status(), Status::queue_not_found);
    queue_.close();
    EXPECT_EQ(queue_.peek().status(), Status::closed);
    EXPECT_EQ(Queue().peek().status(), Status::closed);
}

// Beside producers and consumers that use the same chunks again and again.
TEST_F(Peek, never_shows_a_torn_message) {
    std::atomic<bool> stop{false};
    std::thread producer([&] {
        for (std::uint32_t i = 0; !stop; ++i) {
            const std::string text(200 + i % 3, static_cast<char>('a' + i % 26));
            static_cast<void>(queue_.offer(Message::text("t", text)));
        }
    });
    std::thread consumer([&] {
        while (!stop) {
            static_cast<void>(queue_.poll(1ms));
        }
    });
    int seen = 0;
    const auto end = std::chrono::steady_clock::now() + 10s;
    while (seen < 3'000 && std::chrono::steady_clock::now() < end) {
        const auto message = queue_.peek();
        if (message) {
            const std::string text(message->text());
            ASSERT_GE(text.size(), 200U);
            EXPECT_EQ(std::count(text.begin(), text.end(), text[0]),
                      static_cast<std::ptrdiff_t>(text.size()));
            ++seen;
        } else {
            EXPECT_TRUE(message.status() == Status::queue_empty ||
                        message.status() == Status::timed_out);
        }
    }
    stop = true;
    producer.join();
    consumer.join();
    EXPECT_GT(seen, 100);
}

}  // namespace
}  // namespace telpher::test
