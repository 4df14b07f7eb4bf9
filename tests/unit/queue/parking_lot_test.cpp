// What a causal gate remembers, and how a parking lot tells what may go on. With consumers: causal_gate_test.cpp.

#include "src/client/parking_lot.hpp"

#include "tests/unit/support/quiet_fork.hpp"

#include <gtest/gtest.h>

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <thread>

namespace telpher::detail {
namespace {

using namespace std::chrono_literals;
using SteadyClock = ParkingLot::Clock;

TEST(CausalGateTest, absurd_options_are_refused_by_name) {
    const auto refusal = [](const CausalGateOptions& options) {
        const auto made = CausalGate::make(options);
        EXPECT_EQ(made.status(), Status::bad_request);
        return made.error().detail;
    };
    EXPECT_EQ(refusal({.wait = -1ns}), "wait is -1, allowed are 0 ns to 365 days");
    EXPECT_EQ(refusal({.wait = 24h * 366}).substr(0, 7), "wait is");
    EXPECT_EQ(refusal({.remember_max = 0}), "remember_max is 0, allowed are 1 to 16777216");
    EXPECT_EQ(refusal({.remember_max = (16U << 20U) + 1}),
              "remember_max is 16777217, allowed are 1 to 16777216");
    EXPECT_EQ(refusal({.parked_max = 0}), "parked_max is 0, allowed are 1 to 65536");
    EXPECT_EQ(refusal({.parked_max = 65'537}), "parked_max is 65537, allowed are 1 to 65536");
    EXPECT_TRUE(CausalGate::make({.wait = 0ns, .remember_max = 1, .parked_max = 1}));
}

TEST(CausalGateTest, forgets_the_oldest_name_when_it_remembers_as_many_as_it_may) {
    CausalGate gate = CausalGate::make({.remember_max = 3}).value();
    for (int i = 0; i < 8; ++i) {
        gate.processed(std::to_string(i));
        gate.processed(std::to_string(i));  // again: it keeps its place
        for (int old = 0; old <= i; ++old) {
            EXPECT_EQ(gate.was_processed(std::to_string(old)), old > i - 3) << old << " of " << i;
        }
    }
    EXPECT_EQ(gate.status().remembered, 3U);
    EXPECT_EQ(gate.status().forgotten, 5U);
    const CausalGate copy = gate;
    EXPECT_TRUE(copy.was_processed("7"));
}

TEST(CausalGateTest, in_a_forked_child_does_nothing) {
    CausalGate gate = CausalGate::make().value();
    gate.processed("a");
    const pid_t child = test::quiet_fork();
    if (child == 0) {
        gate.processed("b");
        _exit(gate.was_processed("a") || gate.status().remembered != 0 ? 1 : 0);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    EXPECT_TRUE(gate.was_processed("a"));
    EXPECT_FALSE(gate.was_processed("b"));
}

class ParkingLotTest : public ::testing::Test {
  protected:
    void park(const char* cause, SteadyClock::time_point due = SteadyClock::time_point::max()) {
        lot_->park(Delivery(), cause_id(cause), due);
    }
    void processed(const char* name) {
        const CauseId id = cause_id(name);
        gate_->processed({&id, 1});
    }

    // As when its consumer ends: the gate lets go of it.
    void clear() {
        lot_->close();
        lot_->leave(false);
        lot_->leave(false);
        while (lot_->take()) {
            lot_->end_handling();
        }
    }

    // Why the next one goes on.
    Leaving taken() {
        const auto parked = lot_->take();
        lot_->end_handling();
        return parked.value().why;
    }

    std::shared_ptr<GateCore> gate_ =
        std::make_shared<GateCore>(CausalGateOptions{.wait = 24h, .parked_max = 4});
    std::shared_ptr<ParkingLot> lot_ = std::make_shared<ParkingLot>(gate_, 2);
};

TEST_F(ParkingLotTest, hands_out_what_may_go_on_and_keeps_the_rest) {
    park("a");
    park("b");
    park("a");
    processed("a");
    for (int i = 0; i < 2; ++i) {
        const auto taken = lot_->take();
        ASSERT_TRUE(taken);
        EXPECT_EQ(taken->cause, cause_id("a"));
        EXPECT_EQ(taken->why, Leaving::cause);
        lot_->end_handling();
    }
    park("a");  // processed before it came: it may go on at once
    EXPECT_EQ(taken(), Leaving::cause);
    EXPECT_EQ(gate_->status().parked, 1U);
    lot_->leave(false);
    lot_->leave(true);  // the last poller: what still waits is handed out
    EXPECT_EQ(taken(), Leaving::end);
    EXPECT_FALSE(lot_->take());
    EXPECT_EQ(gate_->status().parked, 0U);
    EXPECT_EQ(gate_->status().passed, 3U);
    processed("b");  // nobody waits for it any more
    EXPECT_EQ(lot_.use_count(), 1);
}

TEST_F(ParkingLotTest, lets_the_rest_wait_in_its_time_when_it_is_patient) {
    park("a");
    lot_->leave(true);
    lot_->leave(true);
    std::thread opener([this] { processed("a"); });
    EXPECT_EQ(taken(), Leaving::cause);  // waits
    opener.join();
    EXPECT_FALSE(lot_->take());
}

TEST_F(ParkingLotTest, tells_of_a_lost_lease_at_once_and_extends_the_others) {
    const auto now = SteadyClock::now();
    park("a", now);
    park("b", now + 24h);
    park("c", now);
    int extended = 0;
    const auto next = lot_->extend_due(2h, [&](Delivery& /*delivery*/) { return ++extended == 2; });
    EXPECT_EQ(extended, 2);
    ASSERT_TRUE(next);
    EXPECT_GE(*next, now + 2h);
    EXPECT_LT(*next, now + 24h);
    const auto lost = lot_->take();
    ASSERT_TRUE(lost);
    EXPECT_TRUE(lost->lost);
    EXPECT_EQ(lost->why, Leaving::lost);
    EXPECT_EQ(lost->cause, cause_id("a"));
    EXPECT_EQ(gate_->status().passed + gate_->status().timed_out, 0U);
    EXPECT_EQ(gate_->status().parked, 2U);
    clear();
}

TEST_F(ParkingLotTest, lets_nobody_poll_while_it_is_full) {
    for (const char* cause : {"a", "b", "c"}) {
        park(cause);
    }
    lot_->wait_for_room();  // there is some
    park("d");
    std::atomic<bool> waits{true};
    std::thread poller([&] {
        lot_->wait_for_room();
        waits = false;
    });
    std::this_thread::sleep_for(10ms);
    EXPECT_TRUE(waits);
    processed("c");
    EXPECT_EQ(lot_->take()->cause, cause_id("c"));
    poller.join();
    clear();
}

TEST_F(ParkingLotTest, lets_no_more_handlers_run_than_there_are_pollers_and_what_waited_first) {
    lot_->begin_handling();
    lot_->begin_handling();
    park("a");
    processed("a");
    std::atomic<int> turns{0};
    std::thread taker([&] {
        EXPECT_TRUE(lot_->take());
        EXPECT_EQ(++turns, 1);
        lot_->end_handling();
    });
    std::thread poller([&] {
        lot_->begin_handling();
        EXPECT_EQ(++turns, 2);
        lot_->end_handling();
    });
    std::this_thread::sleep_for(10ms);
    EXPECT_EQ(turns, 0);
    lot_->end_handling();
    taker.join();
    poller.join();
}

}  // namespace
}  // namespace telpher::detail
