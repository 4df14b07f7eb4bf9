// Goal:   the leases of a process are extended while it lives and runs: one that is killed in a handler hands its
//         message on at once, one that is stopped there when the lease ends, and hears so when it goes on.
// Method: a child consumes with a handler that waits; the parent kills or stops it there, and polls.

#include "tests/crash/harness.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>

namespace telpher::crash {
namespace {

using namespace std::chrono_literals;

class ConsumerKills : public ::testing::Test {
  protected:
    struct Notes {
        std::atomic<bool> begun{false};
        std::atomic<bool> may_end{false};
        std::atomic<std::uint64_t> lost{0};
        std::atomic<std::uint64_t> told{0};
        std::atomic<std::uint64_t> acknowledged{0};
    };
    ConsumerKills()
        : watchdog_(120),
          domain_(::testing::UnitTest::GetInstance()->current_test_info()->name()),
          server_(domain_.open()),
          queue_(server_
                     .create_queue(
                         "queue",
                         {.capacity = 4, .delivery = DeliveryMode::at_least_once, .lease = kLease})
                     .value()) {}
    // Handles one message for as long as `may_end` is false.
    int consume() {
        Server server = domain_.open();
        ConsumeOptions options;
        options.on_error = [this](const ConsumeFailure& failure) {
            notes_->told += failure.status == Status::lease_expired ? 1U : 0U;
        };
        Consumer consumer = server.queue("queue")
                                .value()
                                .consume(
                                    [this](const Delivery& /*delivery*/) {
                                        notes_->begun = true;
                                        while (!notes_->may_end) {
                                            std::this_thread::sleep_for(1ms);
                                        }
                                    },
                                    options)
                                .value();
        while (!notes_->may_end) {
            std::this_thread::sleep_for(1ms);
        }
        consumer.stop();
        notes_->lost = consumer.status().leases_lost;
        notes_->acknowledged = consumer.status().acknowledged;
        return 0;
    }
    [[nodiscard]] bool begun() const {
        for (int i = 0; i < 10'000 && !notes_->begun; ++i) {
            std::this_thread::sleep_for(1ms);
        }
        return notes_->begun;
    }

    static constexpr Duration kLease = 300ms;
    Watchdog watchdog_;
    ScratchDomain domain_;
    Shared<Notes> notes_;
    Server server_;
    Queue queue_;
};

TEST_F(ConsumerKills, killed_in_its_handler_hands_the_message_on_at_once) {
    ASSERT_TRUE(queue_.offer(numbered(1, 48)));
    Child child([this] { return consume(); });
    ASSERT_TRUE(begun());
    EXPECT_EQ(queue_.poll(3 * kLease).status(), Status::timed_out) << "it is extended";
    child.kill();
    Delivery again = queue_.poll(10s).value();
    EXPECT_EQ(number_of(again), 1U);
    EXPECT_EQ(again.deliveries(), 2U);
    EXPECT_EQ(again.reason(), ReturnReason::consumer_died);
    EXPECT_TRUE(again.ack());
    EXPECT_EQ(queue_.status().value().lease_expired, 0U);
}

TEST_F(ConsumerKills, stopped_in_its_handler_loses_the_lease_and_hears_so) {
    ASSERT_TRUE(queue_.offer(numbered(1, 48)));
    Child child([this] { return consume(); });
    ASSERT_TRUE(begun());
    child.stop();
    Delivery again = queue_.poll(30s).value();
    EXPECT_EQ(number_of(again), 1U);
    EXPECT_EQ(again.reason(), ReturnReason::lease_expired);
    EXPECT_TRUE(again.ack());
    child.go_on();
    notes_->may_end = true;
    EXPECT_EQ(child.wait_for_end(30s), 0);
    EXPECT_EQ(notes_->lost, 1U);
    EXPECT_EQ(notes_->told, 1U);
    EXPECT_EQ(notes_->acknowledged, 0U);
    EXPECT_EQ(queue_.poll().status(), Status::queue_empty);
}

}  // namespace
}  // namespace telpher::crash
