// Leases over every way to a domain: the same calls, the same outcomes.

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

class RemoteLease : public Ways {
  protected:
    void SetUp() override {
        Ways::SetUp();
        Admin admin = Admin::connect(uri(), how()).value();
        ASSERT_TRUE(admin.create_queue("q",
                                       {.capacity = 64,
                                        .delivery = DeliveryMode::at_least_once,
                                        .lease = 30s,
                                        .deliveries_max = 3,
                                        .dead_letter = "dead"}));
        queue = client.queue("q").value();
        dead = client.queue("dead").value();
    }
    void TearDown() override {
        queue = {};
        dead = {};
        Ways::TearDown();
    }
    void offer(const std::string& text) {
        ASSERT_TRUE(queue.offer(Message::text("n", text), kSoon));
    }
    Queue queue;
    Queue dead;
};

TEST_P(RemoteLease, acknowledged_is_gone_and_given_back_comes_again) {
    offer("1");
    offer("2");
    Delivery first = queue.poll(kSoon).value();
    EXPECT_EQ(first.text(), "1");
    EXPECT_EQ(first.deliveries(), 1U);
    EXPECT_EQ(first.reason(), ReturnReason::none);
    EXPECT_EQ(queue.status().value().leased, 1U);
    EXPECT_TRUE(first.nack());
    EXPECT_FALSE(first);
    Delivery again = queue.poll(kSoon).value();
    EXPECT_EQ(again.text(), "1");
    EXPECT_EQ(again.deliveries(), 2U);
    EXPECT_EQ(again.reason(), ReturnReason::nacked);
    EXPECT_EQ(again.sequence(), 1U);
    EXPECT_FALSE(again.dead_letter());
    EXPECT_TRUE(again.extend(60s));
    EXPECT_TRUE(again.ack());
    EXPECT_EQ(again.ack().status(), Status::bad_request);
    Delivery second = queue.poll(kSoon).value();
    EXPECT_EQ(second.text(), "2");
    EXPECT_TRUE(second.ack());
    EXPECT_EQ(queue.poll().status(), Status::queue_empty);
    const QueueStatus status = queue.status().value();
    EXPECT_EQ(status.leased + status.delayed + status.depth, 0U);
    EXPECT_EQ(status.delivery, DeliveryMode::at_least_once);
}

TEST_P(RemoteLease, let_go_comes_again_and_too_often_is_a_dead_letter) {
    offer("poison");
    for (std::uint32_t n = 1; n <= 3; ++n) {
        EXPECT_EQ(queue.poll(kSoon).value().deliveries(), n);  // let go
    }
    Delivery letter = dead.poll(kSoon).value();
    EXPECT_EQ(letter.text(), "poison");
    ASSERT_TRUE(letter.dead_letter());
    EXPECT_EQ(letter.dead_letter()->reason, ReturnReason::too_many_deliveries);
    EXPECT_EQ(letter.dead_letter()->origin, "q");
    EXPECT_GT(letter.dead_letter()->time, std::chrono::system_clock::now() - 1h);
    EXPECT_TRUE(letter.ack());
}

TEST_P(RemoteLease, refused_is_a_dead_letter_and_a_delay_is_kept) {
    offer("refused");
    offer("later");
    EXPECT_TRUE(queue.poll(kSoon).value().reject());
    const auto start = std::chrono::steady_clock::now();
    EXPECT_TRUE(queue.poll(kSoon).value().nack(60ms));
    Delivery later = queue.poll(kSoon).value();
    EXPECT_EQ(later.text(), "later");
    EXPECT_GE(std::chrono::steady_clock::now() - start, 55ms);
    EXPECT_TRUE(later.ack());
    Delivery letter = dead.poll(kSoon).value();
    EXPECT_EQ(letter.text(), "refused");
    EXPECT_EQ(letter.dead_letter()->reason, ReturnReason::rejected);
    EXPECT_TRUE(letter.ack());
}

// Not over shm: there a client's deliveries outlive it, as long as its process lives.
class RemoteLeaseEnd : public RemoteLease {};

TEST_P(RemoteLeaseEnd, of_a_client_hands_what_it_had_to_another) {
    offer("1");
    Client gone = another_client();
    Delivery held = gone.queue("q").value().poll(kSoon).value();
    EXPECT_EQ(held.text(), "1");
    gone.close();
    Delivery again = queue.poll(kSoon).value();
    EXPECT_EQ(again.text(), "1");
    EXPECT_EQ(again.deliveries(), 2U);
    EXPECT_EQ(again.reason(), ReturnReason::consumer_died);
    EXPECT_FALSE(held.ack()) << "it is another's";
    EXPECT_TRUE(again.ack());
}

TEST_P(RemoteLease, an_expired_lease_is_told) {
    Admin admin = Admin::connect(uri(), how()).value();
    ASSERT_TRUE(admin.create_queue(
        "short", {.capacity = 4, .delivery = DeliveryMode::at_least_once, .lease = 40ms}));
    Queue brief = client.queue("short").value();
    ASSERT_TRUE(brief.offer(Message::text("n", "1"), kSoon));
    Delivery late = brief.poll(kSoon).value();
    Delivery other = brief.poll(kSoon).value();
    EXPECT_EQ(other.reason(), ReturnReason::lease_expired);
    EXPECT_EQ(late.text(), "1") << "still readable";
    EXPECT_EQ(late.extend().status(), Status::lease_expired);
    EXPECT_EQ(late.ack().status(), Status::lease_expired);
    EXPECT_TRUE(other.ack());
}

TEST_P(RemoteLease, wrong_words_are_refused) {
    offer("1");
    Delivery held = queue.poll(kSoon).value();
    EXPECT_EQ(held.nack(-1ms).status(), Status::bad_request);
    EXPECT_EQ(held.extend(-1ms).status(), Status::bad_request);
    EXPECT_TRUE(held.ack());
    Admin admin = Admin::connect(uri(), how()).value();
    EXPECT_EQ(admin.create_queue("bad", {.lease = 1s}).status(), Status::bad_request);
    EXPECT_EQ(admin.create_queue("bad", {.delivery = static_cast<DeliveryMode>(7)}).status(),
              Status::bad_request);
    EXPECT_EQ(
        admin.create_queue("q", {.capacity = 64, .delivery = DeliveryMode::at_least_once}).status(),
        Status::mismatch);
}

TEST_P(RemoteLease, every_way_of_polling_leases) {
    for (int i = 1; i <= 4; ++i) {
        offer(std::to_string(i));
    }
    auto several = queue.poll_n(2, kSoon).value();
    ASSERT_EQ(several.size(), 2U);
    auto future = queue.poll_async(kSoon);
    Delivery third = future.get(kSoon).value();
    EXPECT_EQ(third.text(), "3");
    EXPECT_EQ(third.deliveries(), 1U);
    for (Delivery& one : several) {
        EXPECT_TRUE(one.ack());
    }
    EXPECT_TRUE(third.ack());
    static_cast<void>(queue.poll_async(kSoon));  // nobody reads it
    Delivery fourth = queue.poll(kSoon).value();
    EXPECT_EQ(fourth.text(), "4");
    EXPECT_TRUE(fourth.ack());
    EXPECT_EQ(queue.poll().status(), Status::queue_empty);
}

INSTANTIATE_TEST_SUITE_P(Every, RemoteLease, kAllWays, name_of_way);
INSTANTIATE_TEST_SUITE_P(Remote, RemoteLeaseEnd, kRemoteWays, name_of_way);

}  // namespace
}  // namespace telpher::test
