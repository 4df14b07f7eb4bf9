// Futures of polls and offers: completion, timeouts, cancellation, destruction in every state.

#include "tests/unit/support/clock.hpp"
#include "tests/unit/support/messages.hpp"
#include "tests/unit/support/scratch_domain.hpp"

#include <gtest/gtest.h>

#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace telpher::test {
namespace {

class AsyncFuture : public testing::Test {
  protected:
    void SetUp() override { ASSERT_TRUE(full_.offer(note("first"))); }
    // How many messages are in it; takes them.
    static int drain(Queue& queue) {
        int count = 0;
        while (queue.poll()) {
            ++count;
        }
        return count;
    }

    ScratchDomain domain_;
    Server server_ = domain_.open();
    Queue empty_ = server_.create_queue("empty", {.capacity = 64}).value();
    Queue full_ = server_.create_queue("full", {.capacity = 1}).value();
};

TEST_F(AsyncFuture, is_ready_at_once_when_the_queue_can_serve_it) {
    auto sent = empty_.offer_async(note("a"), 10s);
    EXPECT_TRUE(sent.ready());
    EXPECT_EQ(sent.get(0s).value(), 1U);
    auto polled = empty_.poll_async(10s);
    EXPECT_TRUE(polled.ready());
    EXPECT_EQ(polled.get(0s)->text(), "a");
}

TEST_F(AsyncFuture, of_a_poll_completes_when_a_message_comes) {
    auto polled = empty_.poll_async(60s);
    EXPECT_FALSE(polled.ready());
    EXPECT_FALSE(polled.wait(20ms));
    const Stopwatch watch;
    ASSERT_TRUE(empty_.offer(note("later")));
    const auto delivery = polled.get(60s);
    ASSERT_TRUE(delivery);
    EXPECT_EQ(delivery->text(), "later");
    EXPECT_EQ(delivery->sequence(), 1U);
    EXPECT_LT(watch.elapsed(), kPromptly);
}

TEST_F(AsyncFuture, of_an_offer_completes_when_there_is_room) {
    auto sent = full_.offer_async(note("second"), 60s);
    EXPECT_FALSE(sent.wait(20ms));
    EXPECT_EQ(full_.poll()->text(), "first");
    EXPECT_EQ(sent.get(60s).value(), 2U);
    EXPECT_EQ(full_.poll()->text(), "second");
}

TEST_F(AsyncFuture, can_be_read_after_its_operation_finished_unobserved) {
    auto polled = empty_.poll_async(60s);
    ASSERT_TRUE(empty_.offer(note("x")));
    while (!polled.ready()) {
        std::this_thread::sleep_for(1ms);
    }
    EXPECT_EQ(polled.get(0s)->text(), "x");
}

TEST_F(AsyncFuture, is_empty_after_it_was_read_or_moved_from) {
    auto polled = empty_.poll_async(60s);
    Future<Delivery> other = std::move(polled);
    EXPECT_FALSE(polled);
    EXPECT_TRUE(other);
    EXPECT_EQ(polled.get(1s).status(), Status::bad_request);
    ASSERT_TRUE(empty_.offer(note("x")));
    EXPECT_TRUE(other.get(60s));
    EXPECT_FALSE(other);
    EXPECT_EQ(other.get(1s).status(), Status::bad_request);
    EXPECT_TRUE(other.ready());
    EXPECT_FALSE(other.cancel());
    EXPECT_TRUE(other.wait(1s));
    other = Future<Delivery>{};
}

TEST_F(AsyncFuture, stays_pending_when_only_the_wait_for_it_times_out) {
    auto polled = empty_.poll_async(60s);
    EXPECT_EQ(polled.get(10ms).status(), Status::timed_out);
    EXPECT_TRUE(polled) << "still pending";
    EXPECT_EQ(polled.get(-1ns).status(), Status::bad_request);
    EXPECT_EQ(polled.get(0s).status(), Status::timed_out);
    ASSERT_TRUE(empty_.offer(note("x")));
    EXPECT_EQ(polled.get(60s)->text(), "x");
}

TEST_F(AsyncFuture, keeps_the_timeout_of_its_operation_by_itself) {
    const Stopwatch watch;
    auto polled = empty_.poll_async(40ms);
    auto sent = full_.offer_async(note("x"), 20ms);
    EXPECT_EQ(sent.get(60s).status(), Status::timed_out);
    EXPECT_GE(watch.elapsed(), 20ms);
    EXPECT_EQ(polled.get(60s).status(), Status::timed_out);
    EXPECT_GE(watch.elapsed(), 40ms);
    EXPECT_LT(watch.elapsed(), 40ms + kPromptly);
    EXPECT_FALSE(polled) << "the operation's own timeout is its result";
    ASSERT_TRUE(empty_.offer(note("x")));
    EXPECT_EQ(drain(empty_), 1) << "a poll that timed out takes nothing";
    EXPECT_EQ(drain(full_), 1) << "an offer that timed out sends nothing";
}

TEST_F(AsyncFuture, takes_the_longest_timeout) {
    auto polled = empty_.poll_async(Duration::max());
    EXPECT_EQ(polled.get(1ms).status(), Status::timed_out);
    ASSERT_TRUE(empty_.offer(note("x")));
    EXPECT_TRUE(polled.get(Duration::max()));
}

TEST_F(AsyncFuture, with_timeout_0_is_ready_like_the_call_that_does_not_wait) {
    EXPECT_EQ(empty_.poll_async(0s).get(0s).status(), Status::queue_empty);
    EXPECT_EQ(full_.offer_async(note("x"), 0s).get(0s).status(), Status::queue_full);
    EXPECT_EQ(full_.poll_async(0s).get(0s)->text(), "first");
}

TEST_F(AsyncFuture, tells_of_wrong_input_at_once) {
    EXPECT_EQ(empty_.poll_async(-1ns).get(0s).status(), Status::bad_request);
    EXPECT_EQ(empty_.offer_async(note("x"), -1ns).get(0s).status(), Status::bad_request);
    EXPECT_EQ(empty_.offer_async(Message{}, 1s).get(0s).status(), Status::bad_request);
    EXPECT_EQ(empty_.offer_async(note(std::string(100'000, 'x')), 1s).get(0s).status(),
              Status::message_too_large);
    EXPECT_EQ(Queue().poll_async(1s).get(0s).status(), Status::closed);
    EXPECT_EQ(Queue().offer_async(note("x"), 1s).get(0s).status(), Status::closed);
    empty_.close();
    EXPECT_EQ(empty_.poll_async(1s).get(0s).status(), Status::closed);
    EXPECT_EQ(empty_.offer_async(note("x"), 1s).get(0s).status(), Status::closed);
}

TEST_F(AsyncFuture, cancelled_takes_and_sends_nothing) {
    auto polled = empty_.poll_async(60s);
    auto sent = full_.offer_async(note("x"), 60s);
    EXPECT_TRUE(polled.cancel());
    EXPECT_TRUE(sent.cancel());
    EXPECT_FALSE(polled.cancel()) << "once";
    EXPECT_EQ(polled.get(0s).status(), Status::cancelled);
    EXPECT_EQ(sent.get(0s).status(), Status::cancelled);
    ASSERT_TRUE(empty_.offer(note("x")));
    EXPECT_EQ(drain(empty_), 1);
    EXPECT_EQ(drain(full_), 1);
}

TEST_F(AsyncFuture, cancelled_too_late_keeps_its_result) {
    auto polled = empty_.poll_async(60s);
    ASSERT_TRUE(empty_.offer(note("x")));
    EXPECT_TRUE(polled.wait(60s));
    EXPECT_FALSE(polled.cancel());
    EXPECT_EQ(polled.get(0s)->text(), "x");
}

TEST_F(AsyncFuture, is_cancelled_by_a_stop_request) {
    std::stop_source stop;
    auto polled = empty_.poll_async(60s, stop.get_token());
    auto sent = full_.offer_async(note("x"), 60s, stop.get_token());
    EXPECT_FALSE(polled.wait(10ms));
    stop.request_stop();
    EXPECT_EQ(polled.get(60s).status(), Status::cancelled);
    EXPECT_EQ(sent.get(60s).status(), Status::cancelled);
    EXPECT_EQ(empty_.poll_async(60s, stop.get_token()).get(0s).status(), Status::cancelled);
    ASSERT_TRUE(empty_.offer(note("x")));
    EXPECT_EQ(drain(empty_), 1);
    EXPECT_EQ(drain(full_), 1);
}

TEST_F(AsyncFuture, cancelled_wakes_the_thread_that_waits_for_it) {
    auto polled = empty_.poll_async(60s);
    std::jthread other([&] {
        std::this_thread::sleep_for(kAsleep);
        EXPECT_TRUE(polled.cancel());
    });
    EXPECT_EQ(polled.get(60s).status(), Status::cancelled);
}

TEST_F(AsyncFuture, destroyed_while_pending_withdraws_the_operation) {
    {
        auto polled = empty_.poll_async(60s);
        auto sent = full_.offer_async(note("never"), 60s);
        EXPECT_FALSE(polled.wait(10ms));
    }
    ASSERT_TRUE(empty_.offer(note("x")));
    EXPECT_EQ(drain(empty_), 1);
    EXPECT_EQ(drain(full_), 1);
    EXPECT_EQ(full_.poll(30ms).status(), Status::timed_out) << "it was not sent";
}

TEST_F(AsyncFuture, destroyed_unread_gives_its_message_back) {
    for (const bool ready_at_once : {false, true}) {
        if (ready_at_once) {
            ASSERT_TRUE(empty_.offer(note("kept")));
        }
        {
            auto polled = empty_.poll_async(60s);
            if (!ready_at_once) {
                ASSERT_TRUE(empty_.offer(note("kept")));
            }
            ASSERT_TRUE(polled.wait(60s));
            EXPECT_EQ(empty_.poll().status(), Status::queue_empty) << "the future has it";
        }
        EXPECT_EQ(empty_.poll()->text(), "kept");
    }
    EXPECT_TRUE(server_.verify()->problems.empty());
    EXPECT_EQ(server_.verify()->chunks_claimed, 0U);
}

TEST_F(AsyncFuture, destroyed_after_an_offer_was_sent_changes_nothing) {
    {
        auto sent = full_.offer_async(note("second"), 60s);
        EXPECT_EQ(full_.poll()->text(), "first");
        EXPECT_TRUE(sent.wait(60s));
    }
    EXPECT_EQ(full_.poll()->text(), "second");
}

TEST_F(AsyncFuture, assigned_over_withdraws_what_it_held) {
    auto polled = empty_.poll_async(60s);
    polled = full_.poll_async(60s);
    EXPECT_EQ(polled.get(0s)->text(), "first");
    ASSERT_TRUE(empty_.offer(note("x")));
    EXPECT_EQ(drain(empty_), 1);
}

TEST_F(AsyncFuture, operations_that_wait_are_served_first_in_first_out) {
    std::vector<Future<Delivery>> polls;
    for (int i = 0; i < 50; ++i) {
        polls.push_back(empty_.poll_async(60s));
    }
    for (int i = 0; i < 50; ++i) {
        ASSERT_TRUE(empty_.offer(note(std::to_string(i)), 10s));
    }
    for (int i = 0; i < 50; ++i) {
        EXPECT_EQ(polls[static_cast<std::size_t>(i)].get(60s)->text(), std::to_string(i));
    }
    std::vector<Future<std::uint64_t>> offers;
    for (int i = 0; i < 50; ++i) {
        offers.push_back(full_.offer_async(note(std::to_string(i)), 60s));
    }
    EXPECT_EQ(full_.poll()->text(), "first");
    for (int i = 0; i < 50; ++i) {
        EXPECT_EQ(full_.poll(60s)->text(), std::to_string(i)) << "through a queue of capacity 1";
        EXPECT_EQ(offers[static_cast<std::size_t>(i)].get(60s).value(),
                  static_cast<std::uint64_t>(i) + 2);
    }
}

// Goal: thousands are outstanding, each with its own timeout; some time out, some complete.
TEST_F(AsyncFuture, thousands_may_be_outstanding) {
    constexpr std::uint32_t kCount = 10'000;
    std::vector<Future<Delivery>> polls;
    for (std::uint32_t i = 0; i < kCount; ++i) {
        polls.push_back(i % 2 == 0 ? empty_.poll_async(600s)
                                   : empty_.poll_async(1ms + std::chrono::microseconds(i)));
    }
    for (std::uint32_t i = 1; i < kCount; i += 2) {
        EXPECT_EQ(polls[i].get(60s).status(), Status::timed_out) << i;
    }
    std::jthread producer([this] {
        for (std::uint32_t i = 0; i < kCount / 2; ++i) {
            EXPECT_TRUE(empty_.offer(note(std::to_string(i)), 60s));
        }
    });
    for (std::uint32_t i = 0; i < kCount; i += 2) {
        EXPECT_EQ(polls[i].get(60s)->text(), std::to_string(i / 2));
    }
}

TEST_F(AsyncFuture, an_offer_waits_for_memory_and_says_when_there_was_none) {
    std::vector<Loan> loans;
    while (auto loan = empty_.loan("t", 40'000)) {
        loans.push_back(std::move(*loan));
    }
    const std::string large(40'000, 'x');
    auto sent = empty_.offer_async(note(large), 60s);
    EXPECT_EQ(empty_.offer_async(note(large), 20ms).get(60s).status(), Status::out_of_memory);
    EXPECT_FALSE(sent.ready());
    loans.pop_back();
    EXPECT_TRUE(sent.get(60s));
    EXPECT_EQ(empty_.poll()->text(), large);
}

TEST_F(AsyncFuture, an_offer_to_a_full_circular_queue_waits_for_memory_only) {
    Queue prices =
        server_.create_queue("prices", {.capacity = 1, .kind = QueueKind::circular}).value();
    ASSERT_TRUE(prices.offer(note("old")));
    std::vector<Loan> loans;
    while (auto loan = prices.loan("t", 40'000)) {
        loans.push_back(std::move(*loan));
    }
    auto sent = prices.offer_async(note(std::string(40'000, 'x')), 60s);
    EXPECT_FALSE(sent.wait(20ms));
    loans.pop_back();
    EXPECT_TRUE(sent.get(30s));
    EXPECT_EQ(prices.poll()->dropped_before(), 1U);
}

TEST_F(AsyncFuture, a_blocking_consumer_beside_it_loses_no_wake) {
    for (int round = 0; round < 200; ++round) {
        auto polled = std::optional(empty_.poll_async(60s));
        std::thread consumer([this] { EXPECT_TRUE(empty_.poll(60s)); });
        if (round % 2 == 0) {
            std::this_thread::sleep_for(100us);
        }
        const Stopwatch watch;
        ASSERT_TRUE(empty_.offer(note("1")));
        polled.reset();  // withdrawn, or its message goes back: the other gets one in any case
        consumer.join();
        EXPECT_LT(watch.elapsed(), kPromptly) << "a sleep ends by itself after 1 s";
        EXPECT_EQ(drain(empty_), 0);
    }
}

}  // namespace
}  // namespace telpher::test
