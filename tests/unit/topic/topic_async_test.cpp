// Publishes that complete later: those that wait for blocking subscribers, in order, and their ends.

#include "telpher/topic.hpp"

#include "tests/unit/support/clock.hpp"
#include "tests/unit/support/fire_and_forget.hpp"
#include "tests/unit/support/topic_fixture.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <random>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace telpher::test {
namespace {

using namespace std::chrono_literals;

// A topic of two places whose subscriber has read nothing: full.
class TopicAsync : public testing::Test {
  protected:
    void SetUp() override {
        ASSERT_TRUE(topic_.publish(price(1)));
        ASSERT_TRUE(topic_.publish(price(2)));
        ASSERT_EQ(topic_.publish(price(3)).status(), Status::queue_full);
    }
    std::string next() {
        auto sample = subscription_.next(20s);
        return std::string(sample ? sample->text() : to_string(sample.status()));
    }
    ScratchDomain domain_;
    Server server_ = domain_.open();
    Topic topic_ =
        server_.create_topic("price", {.capacity = 2, .slow = SlowSubscriber::block}).value();
    Subscription subscription_ = server_.subscribe("price").value();
};

TEST_F(TopicAsync, without_blocking_subscribers_the_future_is_ready) {
    auto published = server_.publish_async(Message::text("news", "open"));
    ASSERT_TRUE(published.ready());
    EXPECT_EQ(published.get(0s)->sequence, 1U);
    EXPECT_EQ(server_.publish_async(Message::text("news", "closed"), 20s).get(0s)->sequence, 2U);
    EXPECT_EQ(server_.topic("news")->publish_async(Message::text("news", "x")).get(0s)->sequence,
              3U);
}

TEST_F(TopicAsync, what_waits_is_published_in_the_order_of_the_calls) {
    EXPECT_EQ(topic_.publish_async(price(3)).get(0s).status(), Status::queue_full);
    std::vector<Future<Published>> waiting;
    for (int i = 3; i <= 50; ++i) {
        waiting.push_back(i % 2 == 0 ? topic_.publish_async(price(i), 60s)
                                     : server_.publish_async(price(i), 60s));
        EXPECT_FALSE(waiting.back().ready());
    }
    for (int i = 1; i <= 50; ++i) {
        ASSERT_EQ(next(), std::to_string(i));
    }
    std::uint64_t sequence = 3;
    for (auto& published : waiting) {
        const auto what = published.get(20s);
        ASSERT_TRUE(what);
        EXPECT_EQ(what->sequence, sequence++);
        EXPECT_EQ(what->subscribers, 1U);
    }
}

TEST_F(TopicAsync, a_byte_budget_is_waited_for_too) {
    Topic large =
        server_
            .create_topic(
                "large", {.capacity = 64, .slow = SlowSubscriber::block, .byte_budget = 64U << 10U})
            .value();
    auto subscription = server_.subscribe("large").value();
    const std::vector<std::byte> payload(16U << 10U);
    std::vector<Future<Published>> waiting;
    for (int i = 0; i < 32; ++i) {
        waiting.push_back(
            large.publish_async(Message::bytes("large", "application/octet-stream", payload), 60s));
    }
    EXPECT_FALSE(waiting.back().ready());
    for (int i = 0; i < 32; ++i) {
        ASSERT_TRUE(subscription.next(20s)) << i;
    }
    for (auto& published : waiting) {
        EXPECT_TRUE(published.get(20s));
    }
}

TEST_F(TopicAsync, cancelled_timed_out_and_forgotten_ones_are_not_published) {
    auto cancelled = topic_.publish_async(price(90), 60s);
    auto timed_out = topic_.publish_async(price(91), 20ms);
    std::stop_source stop;
    auto stopped = topic_.publish_async(price(92), 60s, stop.get_token());
    { auto forgotten = topic_.publish_async(price(93), 60s); }
    auto last = topic_.publish_async(price(3), 60s);
    EXPECT_TRUE(cancelled.cancel());
    stop.request_stop();
    EXPECT_EQ(cancelled.get(20s).status(), Status::cancelled);
    EXPECT_EQ(stopped.get(20s).status(), Status::cancelled);
    EXPECT_EQ(timed_out.get(20s).status(), Status::timed_out);
    EXPECT_EQ(next(), "1");
    EXPECT_EQ(next(), "2");
    EXPECT_EQ(next(), "3");
    EXPECT_TRUE(last.get(20s));
    EXPECT_EQ(subscription_.next().status(), Status::queue_empty);
    EXPECT_EQ(topic_.publish_async(price(1), 60s, stop.get_token()).get(0s)->sequence, 4U)
        << "what need not wait is not cancelled";
}

TEST_F(TopicAsync, bad_messages_are_told_at_once) {
    auto waits = topic_.publish_async(price(3), 60s);
    EXPECT_EQ(topic_.publish_async(Message::text("news", "x"), 60s).get(0s).status(),
              Status::bad_request);
    EXPECT_EQ(topic_.publish_async(price(4), -1s).get(0s).status(), Status::bad_request);
    EXPECT_EQ(
        topic_
            .publish_async(Message::bytes("price", "a/b", std::vector<std::byte>(30U << 20U)), 60s)
            .get(0s)
            .status(),
        Status::message_too_large);
    EXPECT_EQ(server_.publish_async(Message::text("a b", "x")).get(0s).status(),
              Status::bad_request);
    EXPECT_EQ(Topic{}.publish_async(price(1)).get(0s).status(), Status::closed);
    EXPECT_FALSE(waits.ready());
}

TEST_F(TopicAsync, the_ends_of_subscriber_topic_and_connection_complete_it) {
    auto waits = topic_.publish_async(price(3), 60s);
    subscription_.unsubscribe();
    EXPECT_TRUE(waits.get(20s)) << "nobody blocks any more";
    subscription_ = server_.subscribe("price").value();
    ASSERT_TRUE(topic_.publish(price(4)));
    ASSERT_TRUE(topic_.publish(price(5)));
    auto removed = topic_.publish_async(price(6), 60s);
    ASSERT_FALSE(removed.ready());
    ASSERT_TRUE(server_.remove_topic("price"));
    EXPECT_EQ(removed.get(20s).status(), Status::topic_not_found);

    Topic again =
        server_.create_topic("price", {.capacity = 1, .slow = SlowSubscriber::block}).value();
    subscription_ = server_.subscribe("price").value();
    ASSERT_TRUE(again.publish(price(1)));
    auto closed = again.publish_async(price(2), 60s);
    server_.close();
    EXPECT_EQ(closed.get(20s).status(), Status::closed);
}

TEST_F(TopicAsync, a_pending_future_keeps_topic_and_connection_open) {
    Client other = connect(domain_.uri()).value();
    subscription_.unsubscribe();
    auto subscription = other.subscribe("price").value();
    ASSERT_TRUE(topic_.publish(price(1)));
    ASSERT_TRUE(topic_.publish(price(2)));
    auto kept = topic_.publish_async(price(3), 60s);
    topic_ = Topic{};
    subscription_ = Subscription{};
    server_ = Server{};
    for (int i = 1; i <= 3; ++i) {
        const auto sample = subscription.next(20s);
        ASSERT_TRUE(sample);
        EXPECT_EQ(sample->text(), std::to_string(i));
    }
    EXPECT_TRUE(kept.get(20s));
}

FireAndForget publish_two(Topic topic, std::atomic<int>& done) {
    for (int i = 3; i <= 4; ++i) {
        const auto published = co_await topic.publish_async(price(i), 60s);
        done += published ? 1 : 100;
    }
}

TEST_F(TopicAsync, a_coroutine_goes_on_when_it_is_published) {
    std::atomic<int> done{0};
    publish_two(topic_, done);
    EXPECT_EQ(done, 0);
    for (int i = 1; i <= 4; ++i) {
        EXPECT_EQ(next(), std::to_string(i));
    }
    const Stopwatch watch;
    while (done != 2 && watch.elapsed() < 20s) {
        std::this_thread::yield();
    }
    EXPECT_EQ(done, 2);
}

// Published = received, exactly: what a future says and what the subscriber saw.
TEST_F(TopicAsync, books_are_exact_beside_random_cancellations) {
    std::atomic<bool> stop{false};
    std::uint64_t received = 0;
    while (subscription_.next()) {
    }
    std::thread reader([&] {
        for (;;) {
            if (subscription_.next(1ms)) {
                ++received;
            } else if (stop) {
                return;
            }
        }
    });
    std::uint64_t published = 0;
    std::mt19937_64 random(20261121);
    for (int round = 0; round < 2'000; ++round) {
        std::vector<Future<Published>> futures;
        for (int i = 0; i < 8; ++i) {
            futures.push_back(topic_.publish_async(price(i), Duration(1 + random() % 200'000)));
            if (random() % 4 == 0) {
                futures[random() % futures.size()].cancel();
            }
        }
        for (auto& future : futures) {
            published += future.get(20s) ? 1U : 0U;
        }
    }
    stop = true;
    reader.join();
    EXPECT_EQ(received, published);
    EXPECT_EQ(topic_.status()->published, published + 2);
    EXPECT_GT(published, 100U);
}

}  // namespace
}  // namespace telpher::test
