// Goal:   a process killed or stopped at any step of making, using or giving up a temporary queue
//         leaves none behind: nobody can offer to it a moment later, its memory comes back, and who
//         waited for room is told.
// Method: as kill_every_step_steps_test.cpp and stop_every_step_steps_test.cpp.

#include "tests/crash/step_victim.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <thread>

namespace telpher::crash {
namespace {

using namespace std::chrono_literals;
using Fate = StepVictim::Fate;

class TemporarySteps : public ::testing::Test {
  protected:
    TemporarySteps()
        : watchdog_(200),
          domain_(::testing::UnitTest::GetInstance()->current_test_info()->name()),
          server_(domain_.open()),
          queue_(server_.create_queue("queue", {.capacity = 4}).value()) {}

    // Makes one, fills it, gives it up.
    VictimRole owner() {
        auto server = std::make_shared<Server*>(nullptr);
        return {.prepare =
                    [this, server] {
                        *server = new Server(domain_.open());  // never closed
                        return true;
                    },
                .act =
                    [server] {
                        auto made = (*server)->create_temporary_queue({.capacity = 2});
                        if (made) {
                            static_cast<void>(made->offer(numbered(1, 48)));
                        }
                    }};
    }
    // Without temporary queues, and without their memory, within a second.
    void expect_none() {
        std::vector<std::string> queues;
        for (int i = 0; i < 1000; ++i) {
            static_cast<void>(server_.processes());  // looks for deaths
            queues = server_.queues().value();
            if (queues.size() == 1 && server_.verify().value().queues == 1) {
                break;
            }
            std::this_thread::sleep_for(1ms);
        }
        EXPECT_EQ(queues, std::vector<std::string>{"queue"});
        EXPECT_EQ(server_.verify().value().queues, 1U);
        EXPECT_EQ(audit(server_, settle(queue_)), "");
    }

    Watchdog watchdog_;
    ScratchDomain domain_;
    Server server_;
    Queue queue_;
    StepVictim victim_;
};

TEST_F(TemporarySteps, killed_with_a_temporary_queue) {
    const std::uint32_t steps = victim_.kill_at_every_step(
        "temporary queue",
        [] {},
        owner(),
        [this](bool) {
            victim_.child().kill();
            EXPECT_EQ(server_.processes().value().size(), 1U);
            expect_none();
        });
    EXPECT_GE(steps, 40U);
}

TEST_F(TemporarySteps, stopped_with_a_temporary_queue) {
    bool stopped = true;
    for (std::uint32_t n = 1; stopped; n += scaled(2, 1)) {
        const auto end = victim_.run(owner(), Fate::stopped, n);
        ASSERT_NE(end, StepVictim::End::failed);
        stopped = end == StepVictim::End::met_fate;
        ASSERT_TRUE(queue_.offer(numbered(2, 48))) << "others go on";
        EXPECT_EQ(drain(queue_), std::vector<std::uint64_t>{2});
        ASSERT_TRUE(!stopped || victim_.let_finish(10s)) << "it does not go on";
        victim_.child().kill();
        EXPECT_EQ(server_.processes().value().size(), 1U);
        expect_none();
        ASSERT_FALSE(HasFailure()) << "stopped at step " << n << ", " << victim_.where();
    }
}

TEST_F(TemporarySteps, catches_queues_of_the_dead_that_stay) {
    StepVictim::seed_bug(shm::Bug::orphans_stay);
    ASSERT_EQ(victim_.run(owner(), Fate::killed, 1, "ring.commit.load_tail"),
              StepVictim::End::met_fate);
    for (int i = 0; i < 50; ++i) {
        static_cast<void>(server_.processes());
        std::this_thread::sleep_for(1ms);
    }
    EXPECT_EQ(server_.queues().value().size(), 2U) << "the mistake is seen";
    StepVictim::seed_bug(shm::Bug::none);
}

}  // namespace
}  // namespace telpher::crash
