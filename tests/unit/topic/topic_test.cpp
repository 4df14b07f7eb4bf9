// Publish and subscribe: order, numbers, patterns, options, ends.

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

class TopicTest : public TopicFixture {};

TEST_F(TopicTest, every_subscriber_sees_every_message_after_it_joined_in_one_order) {
    ASSERT_TRUE(server_.publish(price(0)));
    auto first = server_.subscribe("price").value();
    ASSERT_TRUE(server_.publish(price(1)));
    auto second = server_.subscribe("price").value();
    for (int i = 2; i < 5; ++i) {
        const auto published = server_.publish(price(i));
        ASSERT_TRUE(published);
        EXPECT_EQ(published->sequence, static_cast<std::uint64_t>(i) + 1);
        EXPECT_EQ(published->subscribers, 2U);
    }
    EXPECT_EQ(drain(first), (std::vector<std::string>{"1", "2", "3", "4"}));
    EXPECT_EQ(drain(second), (std::vector<std::string>{"2", "3", "4"}));
}

TEST_F(TopicTest, a_topic_without_subscribers_takes_messages) {
    const auto published = server_.publish(price(1));
    ASSERT_TRUE(published);
    EXPECT_EQ(published->subscribers, 0U);
    EXPECT_EQ(published->sequence, 1U);
}

TEST_F(TopicTest, a_sample_has_all_fields_and_its_number) {
    auto subscription = server_.subscribe("price").value();
    ASSERT_TRUE(server_.publish(Message::json("price", R"({"espresso":3.2})")
                                    .with_request_id("17")
                                    .with_correlation_id("c")));
    const auto sample = subscription.next(1s);
    ASSERT_TRUE(sample);
    EXPECT_EQ(sample->json(), R"({"espresso":3.2})");
    EXPECT_EQ(sample->topic(), "price");
    EXPECT_EQ(sample->request_id(), "17");
    EXPECT_EQ(sample->correlation_id(), "c");
    EXPECT_EQ(sample->type(), MessageType::publish);
    EXPECT_EQ(sample->sequence(), 1U);
    EXPECT_EQ(sample->lost_before(), 0U);
    EXPECT_FALSE(sample->in_place());
    const Message copy = *sample;
    EXPECT_EQ(copy.request_id(), "17");
}

TEST_F(TopicTest, samples_move_with_their_texts) {
    auto subscription = server_.subscribe("price").value();
    ASSERT_TRUE(server_.publish(price(1).with_request_id("r")));
    ASSERT_TRUE(server_.publish(Message::text("price", std::string(5000, 'x'))));
    Sample small = subscription.next().value();
    Sample large = subscription.next().value();
    EXPECT_TRUE(large.in_place());
    std::vector<Sample> moved;
    moved.push_back(std::move(small));
    moved.push_back(std::move(large));
    moved.reserve(100);
    EXPECT_EQ(moved[0].text(), "1");
    EXPECT_EQ(moved[0].request_id(), "r");
    EXPECT_EQ(moved[0].topic(), "price");
    EXPECT_EQ(moved[1].text(), std::string(5000, 'x'));
    moved[0] = std::move(moved[1]);
    EXPECT_EQ(moved[0].text(), std::string(5000, 'x'));
}

TEST_F(TopicTest, expired_messages_are_skipped_and_counted) {
    auto subscription = server_.subscribe("price").value();
    ASSERT_TRUE(server_.publish(price(1).expires_in(1ms)));
    ASSERT_TRUE(server_.publish(price(2)));
    std::this_thread::sleep_for(20ms);
    EXPECT_EQ(drain(subscription), (std::vector<std::string>{"2"}));
    EXPECT_EQ(subscription.status().expired, 1U);
}

TEST_F(TopicTest, loans_are_published_without_a_copy_and_read_in_place) {
    struct Frame {
        std::uint64_t number;
        std::byte pixels[10'000];
    };
    Topic frames = server_.topic("frames").value();
    auto subscription = server_.subscribe("frames").value();
    auto loan = frames.loan<Frame>().value();
    loan->number = 42;
    ASSERT_TRUE(frames.publish(std::move(loan)));
    EXPECT_FALSE(loan);
    const auto sample = subscription.next();
    ASSERT_TRUE(sample);
    EXPECT_TRUE(sample->in_place());
    ASSERT_NE(sample->as<Frame>(), nullptr);
    EXPECT_EQ(sample->as<Frame>()->number, 42U);
    EXPECT_EQ(sample->as<int>(), nullptr);
}

TEST_F(TopicTest, a_sample_in_place_stays_whole_while_its_topic_runs_on) {
    Topic topic = server_.create_topic("t", {.capacity = 2}).value();
    auto subscription = server_.subscribe("t").value();
    std::vector<Sample> held;
    // More than can be pinned: the others are copies.
    for (int i = 0; i < 12; ++i) {
        ASSERT_TRUE(
            topic.publish(Message::text("t", std::string(3000, static_cast<char>('a' + i)))));
        held.push_back(subscription.next().value());
    }
    EXPECT_TRUE(held[0].in_place());
    EXPECT_FALSE(held[11].in_place());
    for (int i = 0; i < 500; ++i) {
        ASSERT_TRUE(topic.publish(Message::text("t", std::string(3000, 'z'))));
    }
    for (int i = 0; i < 12; ++i) {
        EXPECT_EQ(held[static_cast<std::size_t>(i)].text(),
                  std::string(3000, static_cast<char>('a' + i)));
    }
    held.clear();
    EXPECT_TRUE(server_.verify()->problems.empty());
}

TEST_F(TopicTest, one_subscription_may_have_several_topics) {
    auto subscription = server_.subscribe(std::vector<std::string>{"a", "b", "a"}).value();
    ASSERT_TRUE(server_.publish(Message::text("a", "1")));
    ASSERT_TRUE(server_.publish(Message::text("b", "2")));
    ASSERT_TRUE(server_.publish(Message::text("c", "3")));
    auto all = drain(subscription);
    std::sort(all.begin(), all.end());
    EXPECT_EQ(all, (std::vector<std::string>{"1", "2"}));
    EXPECT_EQ(subscription.status().topics, 2U);
}

TEST_F(TopicTest, patterns_follow_topics_that_are_made_later_from_their_first_message_on) {
    ASSERT_TRUE(server_.publish(Message::text("cafe.oslo.price", "before")));
    auto one_level = server_.subscribe("cafe.*.price").value();
    auto rest = server_.subscribe("cafe.>").value();
    ASSERT_TRUE(server_.publish(Message::text("cafe.oslo.price", "1")));
    ASSERT_TRUE(server_.publish(Message::text("cafe.rome.price", "2")));
    ASSERT_TRUE(server_.publish(Message::text("cafe.rome.bar.price", "3")));
    ASSERT_TRUE(server_.publish(Message::text("cafe", "4")));
    auto ones = drain(one_level);
    auto rests = drain(rest);
    std::sort(ones.begin(), ones.end());
    std::sort(rests.begin(), rests.end());
    EXPECT_EQ(ones, (std::vector<std::string>{"1", "2"}));
    EXPECT_EQ(rests, (std::vector<std::string>{"1", "2", "3"}));
}

TEST_F(TopicTest, a_sleeping_pattern_wakes_for_a_new_topic) {
    auto subscription = server_.subscribe("cafe.>").value();
    std::thread publisher([this] {
        std::this_thread::sleep_for(50ms);
        ASSERT_TRUE(server_.publish(Message::text("cafe.new", "1")));
    });
    const auto before = std::chrono::steady_clock::now();
    const auto sample = subscription.next(20s);
    publisher.join();
    ASSERT_TRUE(sample);
    EXPECT_EQ(sample->text(), "1");
    EXPECT_LT(std::chrono::steady_clock::now() - before, 10s);
}

TEST_F(TopicTest, a_queue_and_a_topic_may_share_a_name) {
    Queue queue = server_.create_queue("price").value();
    auto subscription = server_.subscribe("price").value();
    ASSERT_TRUE(queue.offer(price(1)));
    ASSERT_TRUE(server_.publish(price(2)));
    EXPECT_EQ(queue.poll().value().text(), "1");
    EXPECT_EQ(drain(subscription), (std::vector<std::string>{"2"}));
    EXPECT_EQ(server_.queues().value(), (std::vector<std::string>{"price"}));
    EXPECT_EQ(server_.topics().value(), (std::vector<std::string>{"price"}));
}

TEST_F(TopicTest, other_options_are_a_mismatch) {
    ASSERT_TRUE(server_.create_topic("price", {.capacity = 8}));
    EXPECT_TRUE(server_.create_topic("price", {.capacity = 8}));
    const auto other = server_.create_topic("price", {.capacity = 9});
    EXPECT_EQ(other.status(), Status::mismatch);
    EXPECT_NE(other.error().detail.find("capacity 8"), std::string::npos);
    EXPECT_NE(other.error().detail.find("slow drop_oldest, disconnect_after 0"), std::string::npos);
}

TEST_F(TopicTest, removal_hands_out_what_is_there_and_then_ends) {
    Topic topic = server_.topic("price").value();
    auto subscription = server_.subscribe("price").value();
    ASSERT_TRUE(topic.publish(price(1)));
    std::thread waiter;
    ASSERT_TRUE(server_.remove_topic("price"));
    EXPECT_EQ(topic.publish(price(2)).status(), Status::topic_not_found);
    EXPECT_EQ(subscription.next().value().text(), "1");
    EXPECT_EQ(subscription.next(10s).status(), Status::topic_not_found);
    EXPECT_EQ(server_.remove_topic("price").status(), Status::topic_not_found);
    // The name is free: the next publish makes another topic.
    EXPECT_EQ(server_.publish(price(3))->sequence, 1U);
    subscription = {};
    topic = {};
    EXPECT_TRUE(server_.verify()->problems.empty());
}

TEST_F(TopicTest, status_tells_every_figure) {
    Topic topic = server_.create_topic("price", {.capacity = 8, .history = 3}).value();
    EXPECT_TRUE(topic.created());
    auto subscription = server_.subscribe("price").value();
    for (int i = 0; i < 5; ++i) {
        ASSERT_TRUE(topic.publish(price(i)));
    }
    const auto status = topic.status().value();
    EXPECT_EQ(status.name, "price");
    EXPECT_EQ(status.slow, "drop_oldest");
    EXPECT_EQ(status.capacity, 8U);
    EXPECT_EQ(status.history, 3U);
    EXPECT_EQ(status.published, 5U);
    EXPECT_EQ(status.depth, 5U);
    EXPECT_EQ(status.bytes, 5U * 128);
    EXPECT_EQ(status.subscribers, 1U);
    EXPECT_EQ(status.slowest_lag, 5U);
    EXPECT_FALSE(status.removed);
}

TEST_F(TopicTest, a_look_at_a_topic_makes_none_and_keeps_nothing_of_one_that_goes) {
    EXPECT_EQ(server_.topic_status("price").status(), Status::topic_not_found);
    EXPECT_EQ(server_.topic_status("two words").status(), Status::bad_request);
    EXPECT_TRUE(server_.topics()->empty());
    // More rings than the domain began with memory for, so that it grows unless each of them goes.
    Server other = domain_.open({});
    const std::size_t bytes = server_.status()->segment_bytes;
    for (int i = 0; i < 100; ++i) {
        const std::string name = "t" + std::to_string(i);
        ASSERT_TRUE(other.create_topic(name, {.capacity = 1U << 16U, .history = 2}));
        ASSERT_TRUE(other.publish(Message::text(name, "x")));
        const auto status = server_.topic_status(name);
        ASSERT_TRUE(status);
        EXPECT_EQ(status->name, name);
        EXPECT_EQ(status->published, 1U);
        EXPECT_EQ(status->history, 2U);
        ASSERT_TRUE(other.remove_topic(name));
    }
    EXPECT_EQ(server_.status()->segment_bytes, bytes);
    EXPECT_TRUE(server_.verify()->problems.empty());
}

TEST_F(TopicTest, a_publisher_keeps_nothing_of_topics_that_others_remove) {
    // More rings than the domain began with memory for, so that it grows unless they go.
    Server other = domain_.open({});
    const std::size_t bytes = server_.status()->segment_bytes;
    for (int i = 0; i < 100; ++i) {
        const std::string name = "t" + std::to_string(i);
        ASSERT_TRUE(other.create_topic(name, {.capacity = 1U << 16U}));
        ASSERT_TRUE(server_.publish(Message::text(name, "x")));
        ASSERT_TRUE(other.remove_topic(name));
    }
    EXPECT_EQ(server_.status()->segment_bytes, bytes);
    EXPECT_TRUE(server_.verify()->problems.empty());
}

TEST_F(TopicTest, a_pattern_keeps_nothing_of_removed_topics_but_samples_that_are_read) {
    // As above.
    Server other = domain_.open({});
    const std::size_t bytes = server_.status()->segment_bytes;
    auto subscription = server_.subscribe("t.>").value();
    std::vector<Sample> held;
    for (int i = 0; i < 100; ++i) {
        const std::string name = "t." + std::to_string(i);
        ASSERT_TRUE(other.create_topic(name, {.capacity = 1U << 16U}));
        ASSERT_TRUE(other.publish(Message::text(name, name + std::string(3000, 'x'))));
        auto sample = subscription.next();
        ASSERT_TRUE(sample);
        if (i < 2) {
            held.push_back(std::move(*sample));
        } else {
            sample = Status::queue_empty;
        }
        ASSERT_TRUE(other.remove_topic(name));
        EXPECT_EQ(subscription.next().status(), Status::queue_empty);
    }
    EXPECT_EQ(server_.status()->segment_bytes, bytes);
    EXPECT_LE(subscription.status().topics, 4U);
    EXPECT_TRUE(held[0].in_place());
    EXPECT_EQ(held[1].text(), "t.1" + std::string(3000, 'x'));
    held.clear();
    EXPECT_TRUE(server_.verify()->problems.empty());
}

TEST_F(TopicTest, input_that_is_wrong_is_refused_by_name) {
    EXPECT_EQ(server_.create_topic("price", {.capacity = 0}).status(), Status::bad_request);
    EXPECT_EQ(server_.create_topic("price", {.capacity = 4, .history = 5}).status(),
              Status::bad_request);
    EXPECT_EQ(server_.create_topic("price", {.subscribers = 2000}).status(), Status::bad_request);
    EXPECT_EQ(server_.create_topic("a b").status(), Status::bad_request);
    EXPECT_EQ(server_.subscribe("a.b*").status(), Status::bad_request);
    EXPECT_EQ(server_.subscribe(">.a").status(), Status::bad_request);
    EXPECT_EQ(server_.subscribe("").status(), Status::bad_request);
    EXPECT_EQ(server_.subscribe(std::vector<std::string>{}).status(), Status::bad_request);
    Topic topic = server_.topic("price").value();
    EXPECT_EQ(topic.publish(Message::text("other", "x")).status(), Status::bad_request);
    EXPECT_EQ(topic.publish(price(1), -1ms).status(), Status::bad_request);
    auto subscription = server_.subscribe("price").value();
    EXPECT_EQ(subscription.next(-1ms).status(), Status::bad_request);
    EXPECT_EQ(subscription.next_n(0).status(), Status::bad_request);
    EXPECT_EQ(Topic().publish(price(1)).status(), Status::closed);
    EXPECT_EQ(Subscription().next().status(), Status::closed);
}

TEST_F(TopicTest, subscribers_have_a_limit_and_their_places_are_used_again) {
    ASSERT_TRUE(server_.create_topic("price", {.subscribers = 2}));
    auto first = server_.subscribe("price").value();
    auto second = server_.subscribe("price").value();
    const auto third = server_.subscribe("price");
    EXPECT_EQ(third.status(), Status::limit_reached);
    EXPECT_NE(third.error().detail.find("2 subscribers"), std::string::npos);
    first = {};
    EXPECT_TRUE(server_.subscribe("price"));
}

TEST_F(TopicTest, next_n_takes_what_is_there) {
    auto subscription = server_.subscribe("price").value();
    for (int i = 0; i < 10; ++i) {
        ASSERT_TRUE(server_.publish(price(i)));
    }
    EXPECT_EQ(subscription.next_n(4)->size(), 4U);
    const auto rest = subscription.next_n(100).value();
    ASSERT_EQ(rest.size(), 6U);
    EXPECT_EQ(rest[5].text(), "9");
    EXPECT_EQ(subscription.next_n(1, 1ms).status(), Status::timed_out);
}

TEST_F(TopicTest, closing_wakes_a_subscriber_that_sleeps) {
    auto subscription = server_.subscribe("price").value();
    std::thread waiter(
        [&subscription] { EXPECT_EQ(subscription.next(60s).status(), Status::closed); });
    std::this_thread::sleep_for(20ms);
    server_.close();
    waiter.join();
}

TEST_F(TopicTest, a_stop_request_wakes_a_subscriber_that_sleeps) {
    auto subscription = server_.subscribe("price").value();
    std::stop_source stop;
    std::thread waiter(
        [&] { EXPECT_EQ(subscription.next(60s, stop.get_token()).status(), Status::cancelled); });
    std::this_thread::sleep_for(20ms);
    stop.request_stop();
    waiter.join();
}

}  // namespace
}  // namespace telpher::test
