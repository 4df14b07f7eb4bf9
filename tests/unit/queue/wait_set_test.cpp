// Waiting for many queues and futures at once.

#include "tests/unit/support/clock.hpp"
#include "tests/unit/support/messages.hpp"
#include "tests/unit/support/sanitizers.hpp"
#include "tests/unit/support/scratch_domain.hpp"

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

using Keys = std::vector<std::size_t>;

class WaitSetTest : public testing::Test {
  protected:
    void SetUp() override { ASSERT_TRUE(full_.offer(note("first"))); }
    // Runs `end` while a wait sleeps; the wait must tell `expected` promptly.
    template <typename End>
    void expect_woken(const Keys& expected, End end) {
        std::jthread other([&end] {
            std::this_thread::sleep_for(kAsleep);
            end();
        });
        const Stopwatch watch;
        EXPECT_EQ(set_.wait(60s).value(), expected);
        EXPECT_GE(watch.elapsed(), kAsleep / 2) << "nothing was ready before";
        EXPECT_LT(watch.elapsed(), kAsleep + kPromptly);
    }

    ScratchDomain domain_;
    Server server_ = domain_.open();
    Queue a_ = server_.create_queue("a", {.capacity = 4}).value();
    Queue b_ = server_.create_queue("b", {.capacity = 4}).value();
    Queue full_ = server_.create_queue("full", {.capacity = 1}).value();
    WaitSet set_;
};

TEST_F(WaitSetTest, tells_all_that_are_ready_without_waiting) {
    EXPECT_EQ(set_.add(a_, Ready::message).value(), 0U);
    EXPECT_EQ(set_.add(b_, Ready::message).value(), 1U);
    EXPECT_EQ(set_.add(full_, Ready::room).value(), 2U);
    EXPECT_EQ(set_.add(full_, Ready::message).value(), 3U);
    EXPECT_EQ(set_.add(a_, Ready::room).value(), 4U);
    EXPECT_EQ(set_.wait(0s).value(), (Keys{3, 4}));
    ASSERT_TRUE(b_.offer(note("x")));
    EXPECT_EQ(set_.wait(60s).value(), (Keys{1, 3, 4}));
    EXPECT_TRUE(b_.poll()) << "nothing was taken";
}

TEST_F(WaitSetTest, is_woken_by_a_message_by_room_and_by_a_future) {
    ASSERT_TRUE(set_.add(a_, Ready::message));
    ASSERT_TRUE(set_.add(full_, Ready::room));
    auto polled = b_.poll_async(60s);
    ASSERT_TRUE(set_.add(polled));
    expect_woken({0}, [this] { EXPECT_TRUE(a_.offer(note("x"))); });
    EXPECT_TRUE(a_.poll());
    expect_woken({1}, [this] { EXPECT_TRUE(full_.poll()); });
    ASSERT_TRUE(full_.offer(note("again")));
    expect_woken({2}, [this] { EXPECT_TRUE(b_.offer(note("y"))); });
    EXPECT_EQ(polled.get(0s)->text(), "y");
}

TEST_F(WaitSetTest, is_woken_by_a_cancelled_and_by_a_timed_out_future) {
    auto cancelled = a_.poll_async(60s);
    ASSERT_TRUE(set_.add(cancelled));
    expect_woken({0}, [&] { EXPECT_TRUE(cancelled.cancel()); });
    EXPECT_TRUE(set_.remove(0));
    auto timed_out = a_.poll_async(kAsleep);
    ASSERT_TRUE(set_.add(timed_out));
    expect_woken({1}, [] {});
    EXPECT_EQ(timed_out.get(0s).status(), Status::timed_out);
}

TEST_F(WaitSetTest, is_woken_when_a_queue_is_closed_or_removed) {
    ASSERT_TRUE(set_.add(a_, Ready::message));
    ASSERT_TRUE(set_.add(full_, Ready::room));
    expect_woken({0}, [this] { a_.close(); });
    EXPECT_EQ(a_.poll().status(), Status::closed);
    EXPECT_TRUE(set_.remove(0));
    expect_woken({1}, [this] { EXPECT_TRUE(server_.remove_queue("full")); });
    EXPECT_EQ(full_.offer(note("x")).status(), Status::queue_not_found);
}

TEST_F(WaitSetTest, is_woken_when_the_domain_is_removed_or_the_server_closed) {
    Server other = domain_.open();
    Queue b = other.queue("b").value();
    ASSERT_TRUE(set_.add(a_, Ready::message));
    ASSERT_TRUE(set_.add(b, Ready::message));
    expect_woken({0}, [this] { server_.close(); });
    EXPECT_TRUE(set_.remove(0));
    expect_woken({1}, [&] { EXPECT_TRUE(other.remove_domain()); });
    EXPECT_EQ(b.poll().status(), Status::domain_removed);
}

TEST_F(WaitSetTest, keeps_its_timeout_and_can_be_stopped) {
    ASSERT_TRUE(set_.add(a_, Ready::message));
    const Stopwatch watch;
    EXPECT_EQ(set_.wait(30ms).status(), Status::timed_out);
    EXPECT_GE(watch.elapsed(), 30ms);
    EXPECT_LT(watch.elapsed(), 30ms + kPromptly);
    EXPECT_EQ(set_.wait(0s).status(), Status::timed_out);
    std::stop_source stop;
    std::jthread other([&] {
        std::this_thread::sleep_for(kAsleep);
        stop.request_stop();
    });
    EXPECT_EQ(set_.wait(Duration::max(), stop.get_token()).status(), Status::cancelled);
    EXPECT_EQ(set_.wait(60s, stop.get_token()).status(), Status::cancelled);
}

TEST_F(WaitSetTest, refuses_what_it_cannot_wait_for) {
    EXPECT_EQ(set_.wait(1s).status(), Status::bad_request) << "empty";
    EXPECT_EQ(set_.add(Queue{}, Ready::message).status(), Status::bad_request);
    EXPECT_EQ(set_.add(Future<Delivery>{}).status(), Status::bad_request);
    ASSERT_TRUE(set_.add(a_, Ready::message));
    EXPECT_EQ(set_.wait(-1ns).status(), Status::bad_request);
    const ScratchDomain elsewhere;
    Queue foreign = elsewhere.open().create_queue("q").value();
    const auto refused = set_.add(foreign, Ready::message);
    EXPECT_EQ(refused.status(), Status::bad_request);
    EXPECT_NE(refused.error().detail.find("one domain"), std::string::npos);
    EXPECT_EQ(set_.add(foreign.poll_async(60s)).status(), Status::bad_request);
    EXPECT_FALSE(set_.remove(7));
    EXPECT_EQ(set_.size(), 1U);
    EXPECT_TRUE(set_.remove(0));
    EXPECT_TRUE(set_.add(foreign, Ready::message)) << "an empty set is of no domain";
    WaitSet moved = std::move(set_);
    EXPECT_EQ(moved.size(), 1U);
}

// A wake is for one waiter. Two sets sleep at the same queue; the one that is woken takes nothing
// and goes away: the other, and a blocking poll, must hear of the message all the same.
TEST_F(WaitSetTest, passes_the_wake_on_to_others) {
    for (int round = 0; round < 30; ++round) {
        std::vector<std::jthread> threads;
        for (int i = 0; i < 3; ++i) {
            threads.emplace_back([this] {
                WaitSet mine;
                EXPECT_TRUE(mine.add(a_, Ready::message));
                const Stopwatch watch;
                EXPECT_TRUE(mine.wait(60s));
                EXPECT_LT(watch.elapsed(), kPromptly);
            });
        }
        std::this_thread::sleep_for(2ms);
        EXPECT_TRUE(a_.offer(note("x")));
        threads.clear();
        EXPECT_TRUE(a_.poll());
    }
}

// Goal: nothing is missed in many queues with racing producers and consumers that use sets.
TEST_F(WaitSetTest, consumers_of_many_queues_miss_nothing) {
    constexpr int kMessages = kThreadSanitizer ? 2'000 : 20'000;
    std::vector<Queue> queues{a_, b_};
    std::atomic<int> consumed{0};
    std::vector<std::jthread> consumers;
    for (int i = 0; i < 2; ++i) {
        consumers.emplace_back([&] {
            WaitSet set;
            for (const Queue& queue : queues) {
                EXPECT_TRUE(set.add(queue, Ready::message));
            }
            while (consumed.load() < 2 * kMessages) {
                const auto ready = set.wait(20ms);
                for (const std::size_t key : ready ? *ready : Keys{}) {
                    consumed.fetch_add(queues[key].poll() ? 1 : 0);
                }
            }
        });
    }
    const Stopwatch watch;
    std::vector<std::jthread> producers;
    for (const Queue& queue : queues) {
        producers.emplace_back([queue = Queue(queue)]() mutable {
            WaitSet room;
            EXPECT_TRUE(room.add(queue, Ready::room));
            for (int i = 0; i < kMessages;) {
                if (queue.offer(note("x"))) {
                    ++i;
                } else {
                    EXPECT_TRUE(room.wait(60s));
                }
            }
        });
    }
    producers.clear();
    consumers.clear();
    EXPECT_EQ(consumed.load(), 2 * kMessages);
    EXPECT_LT(watch.elapsed(), 60s);
}

}  // namespace
}  // namespace telpher::test
