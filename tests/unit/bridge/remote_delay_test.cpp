// Offers for later, and acknowledgements of many at once, over every way to a domain.

#include "telpher/admin.hpp"

#include "tests/unit/support/ways.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <thread>
#include <vector>

namespace telpher::test {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

class RemoteDelay : public Ways {
  protected:
    void SetUp() override {
        Ways::SetUp();
        Admin admin = Admin::connect(uri(), how()).value();
        ASSERT_TRUE(admin.create_queue("q",
                                       {.capacity = 2,
                                        .delivery = DeliveryMode::at_least_once,
                                        .lease = 30s,
                                        .deliveries_max = 3,
                                        .dead_letter = "dead"}));
        ASSERT_TRUE(admin.create_queue("once", {.capacity = 4}));
        queue = client.queue("q").value();
    }
    void TearDown() override {
        queue = {};
        Ways::TearDown();
    }
    static Message text(const std::string& text) { return Message::text("n", text); }
    Queue queue;
};

TEST_P(RemoteDelay, is_handed_out_when_it_is_due_and_not_before) {
    const auto start = Clock::now();
    EXPECT_EQ(queue.offer(text("later").deliver_after(300ms), kSoon).value(), 0U);
    EXPECT_EQ(queue.offer(text("now"), kSoon).value(), 1U);
    EXPECT_EQ(queue.status().value().delayed, 1U);
    EXPECT_EQ(queue.status().value().depth, 1U);
    Delivery first = queue.poll(kSoon).value();
    EXPECT_EQ(first.text(), "now");
    Result<Delivery> early = queue.poll();
    if (Clock::now() - start < 300ms) {  // else this machine stood still, and it is due
        EXPECT_EQ(early.status(), Status::queue_empty);
    }
    Delivery later = early ? std::move(*early) : queue.poll(kSoon).value();
    EXPECT_GE(Clock::now() - start, 300ms);
    EXPECT_EQ(later.text(), "later");
    EXPECT_EQ(later.deliveries(), 1U);
    EXPECT_EQ(later.reason(), ReturnReason::none);
    EXPECT_EQ(later.sequence(), 0U);
    EXPECT_EQ(later.delay(), 300ms);
    EXPECT_TRUE(first.ack());
    EXPECT_TRUE(later.ack());
    const QueueStatus status = queue.status().value();
    EXPECT_EQ(status.delayed + status.leased + status.depth + status.redelivered, 0U);
}

TEST_P(RemoteDelay, in_the_order_in_which_they_are_due) {
    EXPECT_TRUE(queue.offer(text("third").deliver_after(900ms), kSoon));
    EXPECT_TRUE(queue.offer(text("first").deliver_after(30ms), kSoon));
    EXPECT_TRUE(queue.offer_async(text("second").deliver_after(450ms), kSoon).get(kSoon));
    for (const char* expected : {"first", "second", "third"}) {
        Delivery next = queue.poll(kSoon).value();
        EXPECT_EQ(next.text(), expected);
        EXPECT_TRUE(next.ack());
    }
}

TEST_P(RemoteDelay, takes_no_place_in_the_queue) {
    EXPECT_TRUE(queue.offer(text("1"), kSoon));
    EXPECT_TRUE(queue.offer(text("2"), kSoon));
    EXPECT_EQ(queue.offer(text("3")).status(), Status::queue_full);
    const std::vector<Message> later(5, text("later").deliver_after(20ms));
    EXPECT_EQ(queue.offer_n(later).value(), 5U) << "however full it is";
    std::vector<Delivery> all;
    while (all.size() < 7) {
        auto next = queue.poll(kSoon);
        ASSERT_TRUE(next);
        all.push_back(std::move(*next));
    }
    EXPECT_EQ(Queue::ack_all(all).value().acknowledged, 7U);
    EXPECT_EQ(queue.poll().status(), Status::queue_empty);
}

TEST_P(RemoteDelay, given_back_is_a_redelivery_and_passed_on_it_is_not_delayed_again) {
    EXPECT_TRUE(queue.offer(text("x").deliver_after(10ms), kSoon));
    EXPECT_TRUE(queue.poll(kSoon).value().nack());
    Delivery again = queue.poll(kSoon).value();
    EXPECT_EQ(again.deliveries(), 2U);
    EXPECT_EQ(again.reason(), ReturnReason::nacked);
    EXPECT_EQ(queue.status().value().redelivered, 1U);
    const Message copy = again.to_message();
    EXPECT_FALSE(copy.delay());
    EXPECT_TRUE(again.ack());
    EXPECT_NE(queue.offer(copy, kSoon).value(), 0U);
    Delivery passed_on = queue.poll().value();
    EXPECT_EQ(passed_on.text(), "x");
    EXPECT_TRUE(passed_on.ack());
}

TEST_P(RemoteDelay, that_expires_meanwhile_is_a_dead_letter) {
    EXPECT_TRUE(queue.offer(text("stale").expires_in(5ms).deliver_after(60ms), kSoon));
    EXPECT_EQ(queue.poll(200ms).status(), Status::timed_out);
    Delivery letter = client.queue("dead").value().poll(kSoon).value();
    EXPECT_EQ(letter.dead_letter()->reason, ReturnReason::expired);
    EXPECT_TRUE(letter.ack());
}

TEST_P(RemoteDelay, what_cannot_be_delayed_is_refused) {
    Queue once = client.queue("once").value();
    const auto refused = once.offer(text("x").deliver_after(1s), kSoon);
    EXPECT_EQ(refused.status(), Status::bad_request);
    EXPECT_EQ(
        refused.error().detail,
        "a message in queue 'once' cannot be delayed: deliver_after is for offers to a queue of "
        "delivery = at_least_once");
    EXPECT_EQ(client.publish(Message::text("t", "x").deliver_after(1s), kSoon).status(),
              Status::bad_request);
    EXPECT_EQ(
        client.send("f", text("x").deliver_after(1s), kSoon, {.wait_for_server = 0s}).status() ==
            Status::ok,
        false);
    const auto negative = queue.offer(text("x").deliver_after(-1ms), kSoon);
    EXPECT_EQ(negative.status(), Status::bad_request);
    EXPECT_EQ(negative.error().detail.substr(0, 5), "delay");
    EXPECT_EQ(queue.offer(text("x").deliver_after(24h * 50), kSoon).status(), Status::bad_request);
    EXPECT_TRUE(queue.offer(text("x").deliver_after(24h * 49), kSoon));
    EXPECT_FALSE(text("x").deliver_after(1s).deliver_after(0ms).delay()) << "taken back";
}

class RemoteAcks : public Ways {
  protected:
    void SetUp() override {
        Ways::SetUp();
        Admin admin = Admin::connect(uri(), how()).value();
        ASSERT_TRUE(
            admin.create_queue("q", {.capacity = 64, .delivery = DeliveryMode::at_least_once}));
        ASSERT_TRUE(admin.create_queue(
            "brief", {.capacity = 64, .delivery = DeliveryMode::at_least_once, .lease = 40ms}));
        ASSERT_TRUE(admin.create_queue("once", {.capacity = 64}));
    }
    Queue filled(const std::string& name, int messages) {
        Queue queue = client.queue(name).value();
        for (int i = 1; i <= messages; ++i) {
            EXPECT_TRUE(queue.offer(Message::text("n", std::to_string(i)), kSoon));
        }
        return queue;
    }
};

TEST_P(RemoteAcks, up_to_a_number_are_acknowledged_and_the_others_stay) {
    Queue queue = filled("q", 8);
    auto held = queue.poll_n(8, kSoon).value();
    ASSERT_EQ(held.size(), 8U);
    EXPECT_EQ(Queue::ack_up_to(held, 0).value().acknowledged, 0U);
    const Acknowledged five = Queue::ack_up_to(held, 5).value();
    EXPECT_EQ(five.acknowledged, 5U);
    EXPECT_EQ(five.lease_expired, 0U);
    ASSERT_EQ(held.size(), 3U);
    EXPECT_EQ(held.front().text(), "6");
    EXPECT_EQ(queue.status().value().leased, 3U);
    EXPECT_EQ(Queue::ack_up_to(held, 5).value().acknowledged, 0U) << "again: nothing";
    EXPECT_EQ(Queue::ack_up_to(held, ~std::uint64_t{0}).value().acknowledged, 3U);
    EXPECT_TRUE(held.empty());
    EXPECT_EQ(Queue::ack_all(held).value().acknowledged, 0U);
    EXPECT_EQ(queue.poll().status(), Status::queue_empty);
}

TEST_P(RemoteAcks, of_expired_leases_are_counted_and_the_others_hold) {
    Queue brief = filled("brief", 3);
    auto held = brief.poll_n(3, kSoon).value();
    ASSERT_EQ(held.size(), 3U);
    EXPECT_TRUE(held[1].extend(30s));
    Delivery other = brief.poll(kSoon).value();
    EXPECT_EQ(other.reason(), ReturnReason::lease_expired);
    Delivery another = brief.poll(kSoon).value();
    const Acknowledged told = Queue::ack_all(held).value();
    EXPECT_EQ(told.acknowledged, 1U);
    EXPECT_EQ(told.lease_expired, 2U);
    EXPECT_TRUE(held.empty());
    static_cast<void>(other.ack());
    static_cast<void>(another.ack());
}

TEST_P(RemoteAcks, without_a_number_stay_and_those_that_are_empty_go) {
    Queue queue = client.queue("q").value();
    EXPECT_TRUE(queue.offer(Message::text("n", "later").deliver_after(1ms), kSoon));
    std::vector<Delivery> held;
    held.push_back(queue.poll(kSoon).value());
    held.emplace_back();
    EXPECT_TRUE(queue.offer(Message::text("n", "1"), kSoon));
    held.push_back(queue.poll(kSoon).value());
    EXPECT_EQ(Queue::ack_up_to(held, 100).value().acknowledged, 1U);
    ASSERT_EQ(held.size(), 1U);
    EXPECT_EQ(held[0].text(), "later");
    EXPECT_TRUE(held[0].ack());
}

TEST_P(RemoteAcks, of_an_at_most_once_queue_release_and_of_several_clients_go_to_each) {
    Queue once = filled("once", 2);
    auto held = once.poll_n(2, kSoon).value();
    Queue queue = filled("q", 4);
    Client second = another_client();
    Queue theirs = second.queue("q").value();
    for (int i = 0; i < 2; ++i) {
        held.push_back(queue.poll(kSoon).value());
        held.push_back(theirs.poll(kSoon).value());
    }
    const Acknowledged told = Queue::ack_all(held).value();
    EXPECT_EQ(told.acknowledged, 6U);
    EXPECT_EQ(told.lease_expired, 0U);
    EXPECT_EQ(queue.status().value().leased, 0U);
}

INSTANTIATE_TEST_SUITE_P(Every, RemoteDelay, kAllWays, name_of_way);
INSTANTIATE_TEST_SUITE_P(Every, RemoteAcks, kAllWays, name_of_way);

}  // namespace
}  // namespace telpher::test
