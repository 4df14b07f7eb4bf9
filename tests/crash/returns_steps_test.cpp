// Goal:   a process killed or stopped at any step of bringing a polled message back into its queue
//         leaves the message in the returns lane, or counted as abandoned; never both, never
//         neither. And its reaper, killed at any step, changes nothing of that.
// Method: as kill_every_step_steps_test.cpp and stop_every_step_steps_test.cpp; the rules are those
//         of tests/model/lane.pml.

#include "src/broker/queue_core.hpp"
#include "tests/crash/step_victim.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>

namespace telpher::crash {
namespace {

using namespace std::chrono_literals;
using Numbers = std::vector<std::uint64_t>;
using Fate = StepVictim::Fate;
using detail::QueueCore;

class ReturnsSteps : public ::testing::Test {
  protected:
    ReturnsSteps()
        : watchdog_(200),
          domain_(::testing::UnitTest::GetInstance()->current_test_info()->name()),
          server_(domain_.open()),
          queue_(server_.create_queue("queue", {.capacity = 4}).value()) {}
    ~ReturnsSteps() override { StepVictim::seed_bug(shm::Bug::none); }

    // Polls message 1, and puts it back.
    VictimRole returning() {
        auto queue = std::make_shared<Queue>();
        auto delivery = std::make_shared<Delivery*>(nullptr);
        return {
            .prepare =
                [this, queue, delivery] {
                    auto* server = new Server(domain_.open());  // never closed
                    *queue = server->queue("queue").value();
                    *delivery = new Delivery(std::move(queue->poll().value()));
                    return true;
                },
            .act = [queue,
                    delivery] { static_cast<void>(QueueCore::of(*queue).put_back(**delivery)); }};
    }
    void fill() {
        static_cast<void>(drain(queue_));
        for (std::uint64_t number = 1; number <= 3; ++number) {
            ASSERT_TRUE(queue_.offer(numbered(number, 48)));
        }
        abandoned_ = queue_.status().value().abandoned;
    }
    // Message 1 is back, first, or counted; 2 and 3 are there.
    void expect_accounted() {
        EXPECT_LE(server_.processes().value().size(), 2U);
        const Numbers rest = drain(queue_);
        const std::uint64_t lost = queue_.status().value().abandoned - abandoned_;
        if (lost == 0) {
            EXPECT_EQ(rest, (Numbers{1, 2, 3}));
        } else {
            EXPECT_EQ(lost, 1U);
            EXPECT_EQ(rest, (Numbers{2, 3}));
        }
        EXPECT_EQ(audit(server_, settle(queue_)), "");
    }

    Watchdog watchdog_;
    ScratchDomain domain_;
    Server server_;
    Queue queue_;
    StepVictim victim_;
    std::uint64_t abandoned_ = 0;
};

TEST_F(ReturnsSteps, killed_in_a_return) {
    const std::uint32_t steps = victim_.kill_at_every_step(
        "return",
        [this] { fill(); },
        returning(),
        [this](bool finished) {
            EXPECT_EQ(server_.processes().value().size(), 1U);
            if (finished) {
                EXPECT_EQ(queue_.status().value().abandoned, abandoned_);
            }
            expect_accounted();
        });
    EXPECT_GE(steps, 8U);
}

TEST_F(ReturnsSteps, stopped_in_a_return) {
    bool stopped = true;
    for (std::uint32_t n = 1; stopped; ++n) {
        fill();
        const auto end = victim_.run(returning(), Fate::stopped, n);
        ASSERT_NE(end, StepVictim::End::failed);
        stopped = end == StepVictim::End::met_fate;
        Numbers polled = drain(queue_);
        for (std::uint64_t number = 10; number < 34; ++number) {  // laps of the others
            ASSERT_TRUE(queue_.offer(numbered(number, 48)));
            const Numbers next = drain(queue_);
            polled.insert(polled.end(), next.begin(), next.end());
        }
        ASSERT_TRUE(!stopped || victim_.let_finish(10s)) << "it does not go on";
        const Numbers rest = drain(queue_);
        polled.insert(polled.end(), rest.begin(), rest.end());
        EXPECT_EQ(std::count(polled.begin(), polled.end(), 1), 1) << n;
        EXPECT_EQ(polled.size(), 27U);
        EXPECT_EQ(server_.processes().value().size(), 1U);
        EXPECT_EQ(audit(server_, settle(queue_)), "");
        ASSERT_FALSE(HasFailure()) << "stopped at step " << n << ", " << victim_.where();
    }
}

// The returner dies where its message is OFFERED to the lane and not there yet; the only one who
// reaps it, because it attaches to the domain, is killed at each of its steps.
TEST_F(ReturnsSteps, its_reaper_may_be_killed_anywhere) {
    StepVictim reaper;
    std::uint32_t completed = 0;
    bool met = true;
    for (std::uint32_t n = 1; met; ++n) {
        fill();
        ASSERT_EQ(victim_.run(returning(), Fate::stopped, 1, "ring.commit.load_tail"),
                  StepVictim::End::met_fate);
        queue_ = {};
        server_ = {};  // nobody else may notice
        victim_.child().kill();
        const auto end = reaper.run(reaping(domain_), Fate::killed, n);
        ASSERT_NE(end, StepVictim::End::failed);
        met = end == StepVictim::End::met_fate;
        completed += met && reaper.where().find("ring.complete") != std::string::npos ? 1U : 0U;
        reaper.child().kill();
        server_ = domain_.open();
        queue_ = server_.queue("queue").value();
        EXPECT_EQ(server_.processes().value().size(), 1U);
        EXPECT_EQ(drain(queue_), (Numbers{1, 2, 3})) << "it had been put back";
        EXPECT_EQ(queue_.status().value().abandoned, abandoned_);
        EXPECT_EQ(audit(server_, settle(queue_)), "");
        ASSERT_FALSE(HasFailure()) << "reaper killed at step " << n << ", " << reaper.where();
    }
    EXPECT_EQ(completed, 1U) << "that step was among them";
}

TEST_F(ReturnsSteps, catches_a_reaper_that_frees_what_was_put_back) {
    StepVictim::seed_bug(shm::Bug::reaper_frees_returned);
    fill();
    ASSERT_EQ(victim_.run(returning(), Fate::killed, 1, "ring.commit.load_tail"),
              StepVictim::End::met_fate);
    EXPECT_EQ(server_.processes().value().size(), 1U);
    EXPECT_EQ(drain(queue_), (Numbers{2, 3})) << "the mistake is seen: message 1 is missing";
    StepVictim::seed_bug(shm::Bug::none);
}

}  // namespace
}  // namespace telpher::crash
