// A queue of delivery at_least_once: what is polled is leased, and comes back unless it is acknowledged.

#include "tests/unit/support/scratch_domain.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

namespace telpher::test {
namespace {

using namespace std::chrono_literals;

class LeaseTest : public ::testing::Test {
  protected:
    LeaseTest() { fill(3); }
    void fill(int messages) {
        for (int i = 1; i <= messages; ++i) {
            EXPECT_TRUE(queue_.offer(Message::text("n", std::to_string(i))));
        }
    }
    Queue make(const std::string& name, QueueOptions options = {}) {
        options.delivery = DeliveryMode::at_least_once;
        return server_.create_queue(name, options).value();
    }
    std::string next(Queue& queue, Duration timeout = {}) {
        auto delivery = queue.poll(timeout);
        if (!delivery) {
            return std::string(to_string(delivery.status()));
        }
        std::string text(delivery->text());
        EXPECT_TRUE(delivery->ack());
        return text;
    }
    void expect_nothing_left(Queue& queue) {
        const QueueStatus status = queue.status().value();
        EXPECT_EQ(status.leased + status.delayed + status.depth, 0U);
        const VerifyReport report = server_.verify().value();
        EXPECT_EQ(report.problems, std::vector<std::string>{});
        EXPECT_EQ(report.chunks_claimed + report.chunks_parked + report.chunks_lingering, 0U);
    }
    ScratchDomain domain_;
    Server server_ = domain_.open();
    Queue queue_ =
        server_.create_queue("q", {.capacity = 16, .delivery = DeliveryMode::at_least_once})
            .value();
};

TEST_F(LeaseTest, an_acknowledged_message_never_comes_again) {
    Delivery first = queue_.poll().value();
    EXPECT_EQ(first.text(), "1");
    EXPECT_EQ(first.sequence(), 1U);
    EXPECT_EQ(first.deliveries(), 1U);
    EXPECT_EQ(first.reason(), ReturnReason::none);
    EXPECT_EQ(queue_.status().value().leased, 1U);
    EXPECT_TRUE(first.ack());
    EXPECT_FALSE(first) << "it is no longer ours";
    EXPECT_EQ(next(queue_), "2");
    EXPECT_EQ(next(queue_), "3");
    EXPECT_EQ(next(queue_), "queue_empty");
    expect_nothing_left(queue_);
}

TEST_F(LeaseTest, one_that_was_not_acknowledged_comes_back_first_and_tells_why) {
    static_cast<void>(queue_.poll().value());  // ends here
    Delivery again = queue_.poll().value();
    EXPECT_EQ(again.text(), "1");
    EXPECT_EQ(again.sequence(), 1U) << "it keeps its number";
    EXPECT_EQ(again.deliveries(), 2U);
    EXPECT_EQ(again.reason(), ReturnReason::nacked);
    EXPECT_TRUE(again.nack());
    EXPECT_EQ(queue_.poll().value().deliveries(), 3U);
    EXPECT_EQ(next(queue_), "1");
    EXPECT_EQ(next(queue_), "2");
    EXPECT_EQ(next(queue_), "3");
    EXPECT_EQ(queue_.status().value().redelivered, 3U);
    expect_nothing_left(queue_);
}

TEST_F(LeaseTest, a_nack_with_a_delay_comes_back_then_and_not_before) {
    const auto start = std::chrono::steady_clock::now();
    EXPECT_TRUE(queue_.poll().value().nack(80ms));
    EXPECT_EQ(next(queue_), "2");
    EXPECT_EQ(next(queue_), "3");
    EXPECT_EQ(next(queue_), "queue_empty");
    EXPECT_EQ(queue_.status().value().delayed, 1U);
    EXPECT_EQ(next(queue_, 10s), "1");
    EXPECT_GE(std::chrono::steady_clock::now() - start, 75ms) << "the coarse clock is 4 ms old";
    expect_nothing_left(queue_);
}

TEST_F(LeaseTest, an_expired_lease_hands_the_message_to_another_and_stays_readable) {
    Queue queue = make("short", {.capacity = 4, .lease = 30ms});
    ASSERT_TRUE(queue.offer(Message::text("n", "mine")));
    Delivery late = queue.poll().value();
    Delivery other = queue.poll(10s).value();
    EXPECT_EQ(other.text(), "mine");
    EXPECT_EQ(other.deliveries(), 2U);
    EXPECT_EQ(other.reason(), ReturnReason::lease_expired);
    EXPECT_EQ(other.sequence(), 1U);
    EXPECT_TRUE(other.ack());
    for (int i = 0; i < 8; ++i) {  // whatever comes next uses other memory
        ASSERT_TRUE(queue.offer(Message::text("n", "next")));
        EXPECT_TRUE(queue.poll().value().ack());
    }
    EXPECT_EQ(late.text(), "mine");
    EXPECT_EQ(server_.verify().value().chunks_lingering, 1U);
    EXPECT_EQ(late.ack().status(), Status::lease_expired);
    EXPECT_FALSE(late);
    EXPECT_EQ(queue.status().value().lease_expired, 1U);
    static_cast<void>(queue_.purge());
    expect_nothing_left(queue);
}

TEST_F(LeaseTest, an_extended_lease_holds) {
    Queue queue = make("short", {.capacity = 4, .lease = 40ms});
    ASSERT_TRUE(queue.offer(Message::text("n", "mine")));
    Delivery held = queue.poll().value();
    for (int i = 0; i < 10; ++i) {
        std::this_thread::sleep_for(10ms);
        ASSERT_TRUE(held.extend());
    }
    EXPECT_TRUE(held.extend(10s));
    std::this_thread::sleep_for(80ms);
    EXPECT_EQ(next(queue), "queue_empty");
    EXPECT_TRUE(held.ack());
    EXPECT_EQ(queue.status().value().lease_expired, 0U);
}

TEST_F(LeaseTest, every_late_word_is_told_lease_expired) {
    Queue queue = make("short", {.capacity = 8, .lease = 10ms});
    std::vector<Delivery> late;
    for (int i = 0; i < 4; ++i) {
        ASSERT_TRUE(queue.offer(Message::text("n", "x")));
        late.push_back(queue.poll().value());
    }
    for (int i = 0; i < 4; ++i) {
        EXPECT_TRUE(queue.poll(10s).value().ack());
    }
    EXPECT_EQ(late[0].nack().status(), Status::lease_expired);
    EXPECT_EQ(late[1].extend().status(), Status::lease_expired);
    EXPECT_EQ(late[2].reject().status(), Status::lease_expired);
    late.clear();
    static_cast<void>(queue_.purge());
    expect_nothing_left(queue);
}

TEST_F(LeaseTest, a_message_delivered_too_often_goes_to_the_dead_letters_and_tells_all) {
    Queue queue = make("q3", {.capacity = 4, .deliveries_max = 3, .dead_letter = "q3.dead"});
    const auto before = std::chrono::system_clock::now() - 10ms;
    ASSERT_TRUE(queue.offer(Message::text("n", "poison")));
    for (int i = 0; i < 3; ++i) {
        EXPECT_EQ(queue.poll().value().deliveries(), static_cast<std::uint32_t>(i) + 1);
    }
    EXPECT_EQ(next(queue), "queue_empty");
    Queue dead = server_.queue("q3.dead").value();
    Delivery letter = dead.poll().value();
    EXPECT_EQ(letter.text(), "poison");
    EXPECT_EQ(letter.deliveries(), 4U) << "3, and this one";
    ASSERT_TRUE(letter.dead_letter());
    EXPECT_EQ(letter.dead_letter()->reason, ReturnReason::too_many_deliveries);
    EXPECT_EQ(letter.dead_letter()->origin, "q3");
    EXPECT_GE(letter.dead_letter()->time, before);
    EXPECT_LE(letter.dead_letter()->time, std::chrono::system_clock::now());
    EXPECT_TRUE(letter.ack());
    EXPECT_EQ(queue.status().value().dead_lettered, 1U);
}

TEST_F(LeaseTest, refused_and_expired_messages_are_dead_letters) {
    Queue queue = make("q2", {.capacity = 4, .dead_letter = "dead"});
    ASSERT_TRUE(queue.offer(Message::text("n", "refused")));
    ASSERT_TRUE(queue.offer(Message::text("n", "old").expires_in(1ms)));
    EXPECT_TRUE(queue.poll().value().reject());
    std::this_thread::sleep_for(20ms);
    EXPECT_EQ(next(queue), "queue_empty");
    Queue dead = server_.queue("dead").value();
    Delivery first = dead.poll().value();
    EXPECT_EQ(first.text(), "refused");
    EXPECT_EQ(first.dead_letter()->reason, ReturnReason::rejected);
    EXPECT_EQ(queue.status().value().expired, 1U);
    EXPECT_EQ(queue.status().value().dead_lettered, 2U);
    EXPECT_TRUE(first.ack());
    Delivery second = dead.poll().value();
    EXPECT_EQ(second.text(), "old") << "a dead letter does not expire again";
    EXPECT_EQ(second.dead_letter()->reason, ReturnReason::expired);
    EXPECT_TRUE(second.ack());
}

TEST_F(LeaseTest, full_dead_letters_drop_the_oldest_and_count_them) {
    Queue queue = make("q2", {.capacity = 2, .dead_letter = "dead"});
    for (int i = 1; i <= 5; ++i) {
        ASSERT_TRUE(queue.offer(Message::text("n", std::to_string(i))));
        EXPECT_TRUE(queue.poll().value().reject());
    }
    Queue dead = server_.queue("dead").value();
    EXPECT_EQ(dead.status().value().dropped, 3U);
    EXPECT_EQ(next(dead), "4");
    EXPECT_EQ(next(dead), "5");
    static_cast<void>(queue_.purge());
    expect_nothing_left(dead);
}

TEST_F(LeaseTest, without_dead_letters_what_would_go_there_is_dropped_and_counted) {
    Queue queue = make("q1", {.capacity = 2, .deliveries_max = 1});
    ASSERT_TRUE(queue.offer(Message::text("n", "1")));
    ASSERT_TRUE(queue.offer(Message::text("n", "2")));
    EXPECT_TRUE(queue.poll().value().reject());
    EXPECT_TRUE(queue.poll().value().nack());
    EXPECT_EQ(next(queue), "queue_empty");
    EXPECT_EQ(queue.status().value().dropped, 2U);
    static_cast<void>(queue_.purge());
    expect_nothing_left(queue);
}

TEST_F(LeaseTest, more_may_be_leased_than_its_returns_lane_holds) {
    constexpr int kMany = 100;  // its lane holds 15
    Queue queue = make("small", {.capacity = 4});
    std::vector<Delivery> held;
    for (int i = 0; i < kMany; ++i) {
        ASSERT_TRUE(queue.offer(Message::text("n", std::to_string(i))));
        held.push_back(queue.poll().value());
    }
    held.clear();
    std::vector<bool> seen(kMany);
    for (int i = 0; i < kMany; ++i) {
        auto again = queue.poll(1s);  // no waiting for the janitor's next look
        ASSERT_TRUE(again) << i;
        seen[static_cast<std::size_t>(std::stoi(std::string(again->text())))] = true;
        EXPECT_TRUE(again->ack());
    }
    EXPECT_EQ(std::count(seen.begin(), seen.end(), true), kMany);
    EXPECT_EQ(next(queue), "queue_empty");
}

TEST_F(LeaseTest, what_is_due_is_found_by_a_poll_that_does_not_wait) {
    EXPECT_TRUE(queue_.poll().value().nack(1ms));
    EXPECT_EQ(next(queue_), "2");
    EXPECT_EQ(next(queue_), "3");
    std::this_thread::sleep_for(20ms);
    EXPECT_EQ(next(queue_), "1");
}

// Each nack falls due within milliseconds of the last.
TEST_F(LeaseTest, a_stream_of_delays_starves_nothing) {
    Queue queue = make("stream", {.capacity = 512});
    std::uint32_t again = 0;
    for (int i = 0; i < 300; ++i) {
        ASSERT_TRUE(queue.offer(Message::text("n", "x")));
        auto delivery = queue.poll();
        ASSERT_TRUE(delivery);
        if (delivery->deliveries() > 1) {
            ++again;
            EXPECT_TRUE(delivery->ack());
        } else {
            EXPECT_TRUE(delivery->nack(20ms));
        }
        std::this_thread::sleep_for(1ms);
    }
    EXPECT_GT(again, 50U);
    static_cast<void>(queue_.purge());
}

TEST_F(LeaseTest, a_short_lease_is_noticed_beside_a_long_delay) {
    Queue queue = make("short", {.capacity = 8, .lease = 50ms});
    ASSERT_TRUE(queue.offer(Message::text("n", "later")));
    EXPECT_TRUE(queue.poll().value().nack(std::chrono::hours(1)));
    ASSERT_TRUE(queue.offer(Message::text("n", "now")));
    const auto start = std::chrono::steady_clock::now();
    Delivery held = queue.poll().value();
    EXPECT_EQ(next(queue, 10s), "now");
    EXPECT_LT(std::chrono::steady_clock::now() - start, 2s);
    EXPECT_EQ(held.ack().status(), Status::lease_expired);
    static_cast<void>(queue_.purge());
}

// Released by a destructor of the ending thread, which has no record any more.
TEST_F(LeaseTest, what_an_ending_thread_holds_comes_back) {
    for (int i = 0; i < 50; ++i) {
        std::thread([this] {
            thread_local Delivery kept;
            kept = queue_.poll(10s).value();
        }).join();
    }
    std::vector<std::string> all = {next(queue_, 10s), next(queue_, 10s), next(queue_, 10s)};
    std::sort(all.begin(), all.end());
    EXPECT_EQ(all, (std::vector<std::string>{"1", "2", "3"}));
}

TEST_F(LeaseTest, of_a_removed_queue_they_are_dropped_and_end) {
    Queue queue = make("gone", {.capacity = 4});
    ASSERT_TRUE(queue.offer(Message::text("n", "1")));
    ASSERT_TRUE(queue.offer(Message::text("n", "2")));
    ASSERT_TRUE(queue.offer(Message::text("n", "3")));
    Delivery acked = queue.poll().value();
    Delivery nacked = queue.poll().value();
    EXPECT_TRUE(queue.poll().value().nack(10s));
    ASSERT_TRUE(server_.remove_queue("gone"));
    EXPECT_TRUE(acked.ack());
    EXPECT_EQ(nacked.nack().status(), Status::queue_not_found);
    queue = {};
    static_cast<void>(queue_.purge());
    const VerifyReport report = server_.verify().value();
    EXPECT_EQ(report.problems, std::vector<std::string>{});
    EXPECT_EQ(report.chunks_parked + report.chunks_claimed, 0U);
}

TEST_F(LeaseTest, wrong_words_are_told_what_is_wrong) {
    Delivery once = queue_.poll().value();
    EXPECT_EQ(once.nack(-1ns).status(), Status::bad_request);
    EXPECT_EQ(once.extend(-1s).status(), Status::bad_request);
    EXPECT_TRUE(once.nack(std::chrono::hours(24 * 365 * 200))) << "bounded, not an overflow";
    EXPECT_EQ(once.ack().status(), Status::bad_request);
    EXPECT_EQ(once.nack().status(), Status::bad_request);
    EXPECT_EQ(once.reject().status(), Status::bad_request);
    Queue plain = server_.create_queue("plain").value();
    ASSERT_TRUE(plain.offer(Message::text("n", "x")));
    Delivery taken = plain.poll().value();
    EXPECT_EQ(taken.nack().status(), Status::bad_request);
    EXPECT_EQ(taken.extend().status(), Status::bad_request);
    EXPECT_EQ(taken.reject().status(), Status::bad_request);
    EXPECT_FALSE(taken.dead_letter());
    EXPECT_TRUE(taken.ack()) << "the same program runs with either";
    static_cast<void>(queue_.purge());
}

TEST_F(LeaseTest, absurd_options_name_themselves) {
    const auto refused = [this](const QueueOptions& options, const std::string& words) {
        const auto made = server_.create_queue("bad", options);
        EXPECT_EQ(made.status(), Status::bad_request);
        EXPECT_NE(made.error().detail.find(words), std::string::npos) << made.error().detail;
    };
    constexpr auto kLeased = DeliveryMode::at_least_once;
    refused({.lease = 1s}, "need delivery");
    refused({.delivery = static_cast<DeliveryMode>(9)}, "delivery is 9");
    refused({.delivery = kLeased, .lease = 1ms}, "lease is 1000000 ns");
    refused({.delivery = kLeased, .lease = -1s}, "lease is -");
    refused({.delivery = kLeased, .lease = 48h}, "lease is");
    refused({.delivery = kLeased, .deliveries_max = 2'000'000}, "deliveries_max is 2000000");
    refused({.delivery = kLeased, .dead_letter = "bad"}, "itself");
    refused({.delivery = kLeased, .dead_letter = "no good"}, "dead_letter");
    static_cast<void>(server_.create_queue("plain"));
    EXPECT_EQ(server_.create_queue("q9", {.delivery = kLeased, .dead_letter = "plain"}).status(),
              Status::mismatch);
    EXPECT_EQ(server_.create_queue("q", {.capacity = 16}).status(), Status::mismatch);
    static_cast<void>(queue_.purge());
}

TEST_F(LeaseTest, every_way_of_polling_leases) {
    EXPECT_EQ(queue_.poll_n(2).value().size(), 2U);  // both come back
    auto future = queue_.poll_async(1s);
    Delivery first = future.get(1s).value();
    EXPECT_EQ(first.text(), "1");
    EXPECT_EQ(first.deliveries(), 2U);
    static_cast<void>(queue_.poll_async(1s));  // unread: not counted
    Delivery second = queue_.poll().value();
    EXPECT_EQ(second.text(), "2");
    EXPECT_EQ(second.deliveries(), 2U);
    EXPECT_EQ(second.reason(), ReturnReason::unread);
    EXPECT_TRUE(first.ack());
    EXPECT_TRUE(second.ack());
    EXPECT_EQ(queue_.peek().value().text(), "3");
    EXPECT_EQ(queue_.purge().value(), 1U);
    expect_nothing_left(queue_);
}

TEST_F(LeaseTest, loans_and_circular_queues_lease_as_well) {
    Queue ring = make("ring", {.capacity = 2, .kind = QueueKind::circular});
    for (std::uint32_t i = 1; i <= 4; ++i) {
        auto loan = ring.loan<std::uint32_t>().value();
        *loan = i;
        ASSERT_TRUE(ring.offer(std::move(loan)));
    }
    EXPECT_EQ(*ring.poll_as<std::uint32_t>(), 3U);
    EXPECT_EQ(*ring.poll_as<std::uint32_t>(), 3U) << "it came back";
    EXPECT_EQ(ring.status().value().dropped, 2U);
    auto wrong = ring.poll_as<std::uint64_t>();
    EXPECT_EQ(wrong.status(), Status::mismatch);
    EXPECT_EQ(ring.status().value().dropped, 3U) << "another type is refused";
    EXPECT_EQ(ring.purge().value(), 1U);
    static_cast<void>(queue_.purge());
    expect_nothing_left(ring);
}

}  // namespace
}  // namespace telpher::test
