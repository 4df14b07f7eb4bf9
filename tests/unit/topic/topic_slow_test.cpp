// What slow and late subscribers of a topic get, and what becomes of the others.

#include "telpher/topic.hpp"

#include "tests/unit/support/topic_fixture.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

namespace telpher::test {
namespace {

using namespace std::chrono_literals;

class TopicSlow : public TopicFixture {};

TEST_F(TopicSlow, drop_oldest_tells_exactly_what_was_lost) {
    ASSERT_TRUE(server_.create_topic("price", {.capacity = 8}));
    auto subscription = server_.subscribe("price").value();
    for (int i = 1; i <= 100; ++i) {
        ASSERT_TRUE(server_.publish(price(i)));
    }
    std::uint64_t lost = 0;
    std::uint64_t next = 1;
    std::uint64_t received = 0;
    while (const auto sample = subscription.next()) {
        next += sample->lost_before();
        EXPECT_EQ(sample->sequence(), next);
        EXPECT_EQ(sample->text(), std::to_string(next));
        ++next;
        ++received;
        lost += sample->lost_before();
    }
    EXPECT_EQ(received + lost, 100U);
    EXPECT_GE(received, 7U);
    EXPECT_EQ(subscription.status().lost, lost);
    EXPECT_EQ(server_.topic("price")->status()->lost, lost);
}

TEST_F(TopicSlow, latest_only_gives_the_newest_and_tells_the_others) {
    auto subscription =
        server_.subscribe("price", SubscribeOptions{.slow = SlowSubscriber::latest_only}).value();
    for (int i = 1; i <= 20; ++i) {
        ASSERT_TRUE(server_.publish(price(i)));
    }
    const auto sample = subscription.next();
    ASSERT_TRUE(sample);
    EXPECT_EQ(sample->text(), "20");
    EXPECT_EQ(sample->lost_before(), 19U);
    EXPECT_EQ(subscription.next().status(), Status::queue_empty);
}

TEST_F(TopicSlow, block_makes_publishers_wait_for_the_slowest) {
    Topic topic =
        server_.create_topic("price", {.capacity = 4, .slow = SlowSubscriber::block}).value();
    auto subscription = server_.subscribe("price").value();
    for (int i = 1; i <= 4; ++i) {
        ASSERT_TRUE(topic.publish(price(i)));
    }
    EXPECT_EQ(topic.publish(price(5)).status(), Status::queue_full);
    EXPECT_EQ(topic.publish(price(5), 5ms).status(), Status::timed_out);
    std::thread publisher([&topic] {
        for (int i = 5; i <= 50; ++i) {
            ASSERT_TRUE(topic.publish(price(i), 20s));
        }
    });
    for (int i = 1; i <= 50; ++i) {
        const auto sample = subscription.next(20s);
        ASSERT_TRUE(sample);
        ASSERT_EQ(sample->text(), std::to_string(i));
        ASSERT_EQ(sample->lost_before(), 0U);
    }
    publisher.join();
}

TEST_F(TopicSlow, who_unsubscribes_blocks_nobody) {
    Topic topic =
        server_.create_topic("price", {.capacity = 2, .slow = SlowSubscriber::block}).value();
    auto subscription = server_.subscribe("price").value();
    ASSERT_TRUE(topic.publish(price(1)));
    ASSERT_TRUE(topic.publish(price(2)));
    std::thread publisher([&topic] { ASSERT_TRUE(topic.publish(price(3), 20s)); });
    std::this_thread::sleep_for(10ms);
    subscription.unsubscribe();
    publisher.join();
    EXPECT_EQ(subscription.next().status(), Status::closed);
    EXPECT_EQ(topic.status()->subscribers, 0U);
}

TEST_F(TopicSlow, disconnect_ends_who_lost_too_much) {
    ASSERT_TRUE(server_.create_topic(
        "price", {.capacity = 4, .slow = SlowSubscriber::disconnect, .disconnect_after = 10}));
    auto subscription = server_.subscribe("price").value();
    for (int i = 1; i <= 10; ++i) {
        ASSERT_TRUE(server_.publish(price(i)));
    }
    const auto sample = subscription.next();
    ASSERT_TRUE(sample);
    EXPECT_GT(sample->lost_before(), 0U);
    for (int i = 1; i <= 20; ++i) {
        ASSERT_TRUE(server_.publish(price(i)));
    }
    EXPECT_EQ(subscription.next().status(), Status::disconnected);
    EXPECT_EQ(subscription.next(1s).status(), Status::disconnected);
    EXPECT_EQ(server_.publish(price(1))->subscribers, 0U);
}

TEST_F(TopicSlow, who_is_disconnected_from_one_topic_is_told_and_joins_none_again) {
    const TopicOptions options{.capacity = 4, .slow = SlowSubscriber::disconnect};
    ASSERT_TRUE(server_.create_topic("cafe.price", options));
    ASSERT_TRUE(server_.create_topic("cafe.news", {.slow = SlowSubscriber::block}));
    auto pattern = server_.subscribe("cafe.>").value();
    auto names = server_.subscribe(std::vector<std::string>{"cafe.news", "cafe.price"}).value();
    for (int i = 0; i < 40; ++i) {
        ASSERT_TRUE(server_.publish(Message::text("cafe.price", "x")));
    }
    EXPECT_EQ(pattern.next().status(), Status::disconnected);
    EXPECT_EQ(names.next().status(), Status::disconnected);
    ASSERT_TRUE(server_.publish(Message::text("cafe.news", "x")));
    ASSERT_TRUE(server_.publish(Message::text("cafe.new", "x")));
    EXPECT_EQ(pattern.next().status(), Status::disconnected);
    EXPECT_EQ(names.next(1s).status(), Status::disconnected);
    EXPECT_EQ(server_.publish(Message::text("cafe.price", "x"))->subscribers, 0U);
    EXPECT_EQ(server_.publish(Message::text("cafe.news", "x"))->subscribers, 0U);
}

TEST_F(TopicSlow, block_is_for_topics_that_say_so) {
    ASSERT_TRUE(server_.create_topic("price"));
    EXPECT_EQ(server_.subscribe("price", SubscribeOptions{.slow = SlowSubscriber::block}).status(),
              Status::not_permitted);
}

TEST_F(TopicSlow, late_joiners_begin_where_they_ask) {
    ASSERT_TRUE(server_.create_topic("price", {.capacity = 16, .history = 5}));
    for (int i = 1; i <= 40; ++i) {
        ASSERT_TRUE(server_.publish(price(i)));
    }
    auto earliest = server_.subscribe("price", SubscribeOptions{.from = From::earliest()}).value();
    auto latest = server_.subscribe("price").value();
    auto numbered =
        server_.subscribe("price", SubscribeOptions{.from = From::sequence(38)}).value();
    auto too_old = server_.subscribe("price", SubscribeOptions{.from = From::sequence(1)}).value();
    auto future =
        server_.subscribe("price", SubscribeOptions{.from = From::sequence(1000)}).value();
    EXPECT_EQ(drain(earliest), (std::vector<std::string>{"36", "37", "38", "39", "40"}));
    EXPECT_TRUE(drain(latest).empty());
    EXPECT_EQ(drain(numbered), (std::vector<std::string>{"38", "39", "40"}));
    std::uint64_t lost = 0;
    const auto rest = drain(too_old, &lost);
    EXPECT_EQ(rest.size() + lost, 40U);
    EXPECT_TRUE(drain(future).empty());
}

TEST_F(TopicSlow, large_messages_are_trimmed_when_all_have_read_them) {
    Topic topic = server_.create_topic("t", {.capacity = 1024, .history = 2}).value();
    auto subscription = server_.subscribe("t").value();
    for (int i = 0; i < 200; ++i) {
        ASSERT_TRUE(topic.publish(Message::text("t", std::string(60'000, 'x'))));
        ASSERT_TRUE(subscription.next());
        // Its cursor is told when it finds nothing more.
        ASSERT_EQ(subscription.next().status(), Status::queue_empty);
    }
    EXPECT_LT(topic.status()->bytes, 10U * 65'664);
    auto late = server_.subscribe("t", SubscribeOptions{.from = From::earliest()}).value();
    EXPECT_EQ(drain(late).size(), 2U);
}

TEST_F(TopicSlow, a_byte_budget_lets_the_oldest_go) {
    Topic topic = server_.create_topic("t", {.capacity = 1024, .byte_budget = 200'000}).value();
    auto subscription = server_.subscribe("t").value();
    for (int i = 0; i < 200; ++i) {
        ASSERT_TRUE(topic.publish(Message::text("t", std::string(16'000, 'x'))));
        ASSERT_LE(topic.status()->bytes, 200'000U + 2 * 25'000U + 16'512U);
    }
    std::uint64_t lost = 0;
    const auto rest = drain(subscription, &lost);
    EXPECT_EQ(rest.size() + lost, 200U);
    EXPECT_LT(rest.size(), 20U);
}

}  // namespace
}  // namespace telpher::test
