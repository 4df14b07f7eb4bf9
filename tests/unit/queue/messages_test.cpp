// The loop over everything that arrives, and messages whose time has passed.

#include "tests/unit/support/clock.hpp"
#include "tests/unit/support/scratch_domain.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

namespace telpher::test {
namespace {

class MessagesTest : public testing::Test {
  protected:
    void offer(const std::string& text) { ASSERT_TRUE(queue_.offer(Message::text("t", text))); }
    ScratchDomain domain_;
    Server server_ = domain_.open();
    Queue queue_ = server_.create_queue("q", {.capacity = 10}).value();
};

TEST_F(MessagesTest, hands_out_what_arrives_until_it_is_stopped) {
    std::stop_source stop;
    std::vector<std::string> got;
    offer("1");
    offer("2");
    std::thread later([&] {
        std::this_thread::sleep_for(kAsleep);
        offer("3");
        offer("last");
    });
    Messages messages = queue_.messages(stop.get_token());
    for (auto& message : messages) {
        got.emplace_back(message.text());
        if (message.text() == "last") {
            stop.request_stop();
        }
    }
    later.join();
    EXPECT_EQ(got, (std::vector<std::string>{"1", "2", "3", "last"}));
    EXPECT_EQ(messages.status(), Status::cancelled);
}

TEST_F(MessagesTest, stops_although_the_queue_never_runs_empty) {
    std::stop_source stop;
    int got = 0;
    offer("first");
    for (auto& message : queue_.messages(stop.get_token())) {
        static_cast<void>(message);
        offer("another");
        offer("another");
        if (++got == 3) {
            stop.request_stop();
        }
        ASSERT_LE(got, 3) << "still going on";
    }
    EXPECT_EQ(queue_.status()->depth, 4U);
}

TEST_F(MessagesTest, is_woken_by_the_stop_request) {
    std::stop_source stop;
    Messages messages = queue_.messages(stop.get_token());
    std::thread stopper([&] {
        std::this_thread::sleep_for(kAsleep);
        stop.request_stop();
    });
    const Stopwatch watch;
    for (auto& message : messages) {
        FAIL() << message.text();
    }
    EXPECT_LT(watch.elapsed(), kAsleep + kPromptly);
    stopper.join();
    EXPECT_EQ(messages.status(), Status::cancelled);
}

TEST_F(MessagesTest, ends_with_the_queue_and_says_so_after_the_last_message) {
    offer("left over");
    Messages messages = queue_.messages();
    EXPECT_EQ(messages.status(), Status::ok);
    int got = 0;
    for (auto& message : messages) {
        EXPECT_EQ(message.text(), "left over");
        ++got;
        ASSERT_TRUE(server_.remove_queue("q"));
    }
    EXPECT_EQ(got, 1);
    EXPECT_EQ(messages.status(), Status::queue_not_found);
}

TEST_F(MessagesTest, ends_with_the_handle) {
    Messages messages = queue_.messages();
    std::thread closer([&] {
        std::this_thread::sleep_for(kAsleep);
        queue_.close();
    });
    for (auto& message : messages) {
        FAIL() << message.text();
    }
    closer.join();
    EXPECT_EQ(messages.status(), Status::closed);
}

TEST_F(MessagesTest, a_message_can_be_kept_beyond_its_turn) {
    offer("keep");
    offer("next");
    std::stop_source stop;
    Delivery kept;
    for (auto& message : queue_.messages(stop.get_token())) {
        if (message.text() == "keep") {
            kept = std::move(message);
            break;
        }
    }
    EXPECT_EQ(kept.text(), "keep");
    EXPECT_EQ(queue_.poll()->text(), "next");
}

// ---- expiry ------------------------------------------------------------------------------------

TEST_F(MessagesTest, expired_messages_are_skipped_and_counted) {
    ASSERT_TRUE(queue_.offer(Message::text("t", "old").expires_in(1ms)));
    ASSERT_TRUE(queue_.offer(Message::text("t", "old too").expires_in(1ms)));
    ASSERT_TRUE(queue_.offer(Message::text("t", "fresh").expires_in(1h)));
    ASSERT_TRUE(queue_.offer(Message::text("t", "for ever")));
    std::this_thread::sleep_for(30ms);
    EXPECT_EQ(queue_.poll()->text(), "fresh");
    EXPECT_EQ(queue_.poll()->text(), "for ever");
    EXPECT_EQ(queue_.poll().status(), Status::queue_empty);
    const QueueStatus status = queue_.status().value();
    EXPECT_EQ(status.expired, 2U);
    EXPECT_EQ(status.polled, 4U);
    EXPECT_EQ(status.depth, 0U);
}

TEST_F(MessagesTest, a_queue_of_expired_messages_is_empty_and_makes_room) {
    for (int i = 0; i < 10; ++i) {
        ASSERT_TRUE(queue_.offer(Message::text("t", "old").expires_in(1ms)));
    }
    std::this_thread::sleep_for(30ms);
    EXPECT_EQ(queue_.poll(5ms).status(), Status::timed_out);
    EXPECT_EQ(queue_.status()->expired, 10U);
    for (int i = 0; i < 10; ++i) {
        EXPECT_TRUE(queue_.offer(Message::text("t", "new")));
    }
}

TEST_F(MessagesTest, a_message_that_is_polled_in_time_tells_when_it_expires) {
    ASSERT_TRUE(queue_.offer(Message::text("t", "x").expires_in(1h)));
    const auto delivery = queue_.poll();
    ASSERT_TRUE(delivery->expires_at());
    EXPECT_EQ(*delivery->expires_at() - delivery->timestamp(), 1h);
    EXPECT_FALSE(delivery->expired(std::chrono::system_clock::now()));
}

}  // namespace
}  // namespace telpher::test
