// Goal:   what a flush said to be on disk comes no more, wherever a process is killed in one, and others flush at once.
//         One that is told before it is written is caught.
// Method: the victim takes two messages, flushes each, and dies at its n-th step, for every n; then the domain's memory is
//         removed, and it is built from its log: with a survivor that flushes before that, and without.

#include "tests/crash/durable_world.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <memory>
#include <vector>

namespace telpher::crash {
namespace {

using namespace std::chrono_literals;

class DurableFlushSteps : public DurableWorld {
  protected:
    // With messages from 1 on.
    void begin(std::uint64_t messages = 4) {
        for (auto& flushed : *flushed_) {
            flushed = false;
        }
        DurableWorld::begin();
        for (std::uint64_t number = 1; number <= messages; ++number) {
            ASSERT_TRUE(queue_.offer(numbered(number, 100).durable(), 5s));
        }
    }
    // What is there in the next life of the domain.
    Numbers next_life() {
        build_again();
        return take();
    }
    VictimRole consumer() {
        auto queue = std::make_shared<Queue>();
        return {.prepare =
                    [this, queue] {
                        *queue = queue_of_victim();
                        return true;
                    },
                .act =
                    [this, queue] {
                        for (int i = 0; i < 2; ++i) {
                            Delivery delivery = queue->poll(0ms).value();
                            const std::uint64_t number = number_of(delivery);
                            if (delivery.ack() && queue->flush(5s)) {
                                flushed_->at(number) = true;
                            }
                        }
                    }};
    }
    void kill_everywhere(bool survivor) {
        const std::uint32_t steps = victim_.kill_at_every_step(
            "flush",
            [this] { begin(); },
            consumer(),
            [&](bool finished) {
                victim_.child().kill();
                const std::uint64_t begun = now_ns();
                EXPECT_TRUE(!survivor || queue_.flush(10s));
                EXPECT_LT(now_ns() - begun, 3'000'000'000U) << "nobody overtook it";
                const Numbers found = next_life();
                for (std::uint64_t number = 1; number <= 4; ++number) {
                    const auto times = std::count(found.begin(), found.end(), number);
                    EXPECT_LE(times, flushed_->at(number) ? 0 : 1) << number;
                    EXPECT_TRUE(times == 1 || number <= 2) << number;
                }
                EXPECT_TRUE(!finished || found == (Numbers{3, 4}));
                end();
            });
        EXPECT_GE(steps, 20U);
    }

    Shared<std::array<std::atomic<bool>, 16>> flushed_;
};

TEST_F(DurableFlushSteps, killed_in_one_that_a_survivor_repeats) { kill_everywhere(true); }
TEST_F(DurableFlushSteps, killed_in_one_before_the_machine_ends) { kill_everywhere(false); }

// One leads and dies before it writes; the other's acknowledgement is among what it took.
TEST_F(DurableFlushSteps, a_flush_that_is_told_before_it_is_written_is_caught) {
    const auto came_again = [this](std::uint32_t rounds) {
        std::uint32_t again = 0;
        for (std::uint32_t round = 1; round <= rounds && again == 0; ++round) {
            begin(12);
            Child other([this] {
                Queue queue = queue_of_victim();
                while (auto delivery = queue.poll(0ms)) {
                    const std::uint64_t number = number_of(*delivery);
                    if (delivery->ack() && queue.flush(5s)) {
                        flushed_->at(number) = true;
                    }
                }
                return 0;
            });
            static_cast<void>(victim_.run({.prepare = [] { return true; },
                                           .act =
                                               [this] {
                                                   Queue queue =
                                                       (new Server(open()))->queue("q").value();
                                                   for (int i = 0; i < 20; ++i) {
                                                       static_cast<void>(queue.flush(2s));
                                                   }
                                               }},
                                          StepVictim::Fate::killed,
                                          round % 4 + 1,
                                          "log.write"));
            victim_.child().kill();
            other.kill();
            for (const std::uint64_t number : next_life()) {
                again += flushed_->at(number) ? 1U : 0U;
            }
            end();
        }
        return again;
    };
    EXPECT_EQ(came_again(5), 0U) << "without the mistake";
    StepVictim::seed_bug(shm::Bug::flushed_before_written);
    EXPECT_GT(came_again(100), 0U) << "the mistake is not caught";
    StepVictim::seed_bug(shm::Bug::none);
}

}  // namespace
}  // namespace telpher::crash
