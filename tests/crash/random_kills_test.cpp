// Goal:   thousands of producers and consumers killed at random moments, also while they attach and
//         reap each other, and survivors stopped now and then: no accepted message is lost,
//         doubled, torn or out of order but the one that a killed consumer held; nothing leaks; the
//         survivors go on at once.
// Method: two producers and two consumers live through it all; each victim lives for up to 2.5 ms.
// The books
//         lie in memory that survives (traffic.hpp). TELPHER_SOAK=1: five times as many.

#include "tests/crash/traffic.hpp"

#include <gtest/gtest.h>

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>

namespace telpher::crash {
namespace {

using namespace std::chrono_literals;

constexpr std::uint32_t kSurvivors = 4;  // producers 0 and 1, consumers of lanes 0 and 1
constexpr std::uint32_t kVictimLane = 2;
constexpr std::uint32_t kVictimLifeUs = 2500;
constexpr std::uint32_t kStopEvery = 10;              // rounds
constexpr std::uint64_t kGoOnWithinNs = 500'000'000;  // a sleep is bounded by a second

class RandomKills : public ::testing::Test {
  protected:
    RandomKills()
        : watchdog_(150),
          domain_(::testing::UnitTest::GetInstance()->current_test_info()->name()),
          traffic_(domain_),
          random_(seed()) {}

    void start_survivors() {
        for (std::uint32_t i = 0; i < kSurvivors; ++i) {
            survivors_[i] = Child([this, i] {
                Pulse* pulse = &(*pulses_)[i];
                return i < 2 ? traffic_.produce(i, pulse) : traffic_.consume(i - 2, pulse);
            });
        }
        while (std::any_of(pulses_->begin(), pulses_->end(), [](Pulse& pulse) {
            return pulse.done.load() == 0 && pulse.gap_ns.load() == 0;
        })) {
            ASSERT_FALSE(traffic_.failed()) << traffic_.first_failure();
            usleep(1000);
        }
        take_gap();
        traffic_.take_stall();
    }

    // The longest time that any survivor needed for one thing since the last call.
    std::uint64_t take_gap() {
        std::uint64_t longest = 0;
        for (Pulse& pulse : *pulses_) {
            longest = std::max(longest, pulse.gap_ns.exchange(0));
        }
        return longest;
    }

    void sleep_up_to(std::uint32_t microseconds) { usleep(random_.below(microseconds)); }

    // One producer and one consumer are born and killed; now and then a survivor is stopped
    // meanwhile.
    void run_round(std::uint32_t round) {
        const bool stop = round % kStopEvery == 0;
        const std::uint32_t stopped = random_.below(kSurvivors);
        std::uint64_t before = 0;
        if (stop) {
            survivors_[stopped].stop();
            before = done_without(stopped);
        }
        Child producer([this] { return traffic_.produce(producers_, nullptr); });
        Child consumer([this] { return traffic_.consume(kVictimLane, nullptr); });
        ++producers_;
        sleep_up_to(kVictimLifeUs);
        producer.kill();
        sleep_up_to(random_.below(2) == 0 ? 50 : kVictimLifeUs / 4);
        consumer.kill();
        if (stop) {
            ++stops_;
            held_up_ += others_went_on(stopped, before) ? 0U : 1U;
            survivors_[stopped].go_on();
            take_gap();  // its own gap says nothing
            traffic_.take_stall();
        } else {
            gaps_.push_back(take_gap());
            stalls_.push_back(traffic_.take_stall());
        }
    }

    // On a busy machine some time goes by before any of them runs; a sleep that nobody ended would take longer.
    bool others_went_on(std::uint32_t stopped, std::uint64_t before) {
        for (const std::uint64_t begun = now_ns(); now_ns() - begun < kGoOnWithinNs; usleep(1000)) {
            if (done_without(stopped) != before) {
                return true;
            }
        }
        return false;
    }

    std::uint64_t done_without(std::uint32_t stopped) {
        std::uint64_t done = 0;
        for (std::uint32_t i = 0; i < kSurvivors; ++i) {
            done += i == stopped ? 0 : (*pulses_)[i].done.load();
        }
        return done;
    }

    void end_survivors() {
        traffic_.stop_producers();
        for (std::uint32_t i = 0; i < kSurvivors; ++i) {
            if (i == 2) {
                traffic_.stop_consumers();
            }
            const int status = survivors_[i].wait_for_end(20s);
            EXPECT_EQ(status, 0) << "survivor " << i << " " << describe_end(status);
        }
    }

    void run(std::uint32_t capacity, std::uint32_t rounds) {
        domain_.limits().segment_bytes = 64U << 20U;
        domain_.limits().message_bytes = 1U << 20U;
        traffic_.make_queue({.capacity = capacity});
        ASSERT_NO_FATAL_FAILURE(start_survivors());
        // How long does anything take on this machine without a kill?
        std::vector<std::uint64_t> quiet_gaps;
        std::vector<std::uint64_t> quiet_stalls;
        for (int i = 0; i < 200; ++i) {
            usleep(3000);
            quiet_gaps.push_back(take_gap());
            quiet_stalls.push_back(traffic_.take_stall());
        }
        const std::uint64_t started = now_ns();
        for (std::uint32_t round = 0; round < rounds; ++round) {
            run_round(round);
            ASSERT_FALSE(traffic_.failed())
                << "in round " << round << ": " << traffic_.first_failure();
        }
        const double seconds = static_cast<double>(now_ns() - started) / 1e9;
        end_survivors();
        {
            const Server server = domain_.open();
            Queue queue = Server(server).queue("queue").value();
            EXPECT_EQ(traffic_.audit_books(queue, producers_, rounds), "");
            EXPECT_EQ(audit(server, settle(queue)), "");
            EXPECT_EQ(server.processes().value().size(), 1U);
        }
        std::printf("  %u producers and %u consumers killed, %u survivors stopped, in %.1f s: %s\n",
                    rounds,
                    rounds,
                    stops_,
                    seconds,
                    traffic_.summary().c_str());
        print_gaps("nothing done by one survivor, after a kill", gaps_);
        print_gaps("... without kills", quiet_gaps);
        print_gaps("nothing done by any survivor, after a kill", stalls_);
        print_gaps("... without kills", quiet_stalls);
        std::printf("  others went on in %u of %u stops\n", stops_ - held_up_, stops_);
        EXPECT_LE(held_up_, stops_ / 20);
        // A sleep is bounded by a second: what comes near it was not woken. Less is the machine's
        // business.
        EXPECT_LT(percentile(stalls_, 99), 100.0);
        EXPECT_LT(percentile(stalls_, 100), 900.0);
    }

    static void print_gaps(const char* what, const std::vector<std::uint64_t>& gaps) {
        std::printf("  %-44s p50 %.2f ms, p99 %.2f ms, max %.2f ms\n",
                    what,
                    percentile(gaps, 50),
                    percentile(gaps, 99),
                    percentile(gaps, 100));
    }

    static double percentile(std::vector<std::uint64_t> gaps, std::size_t percent) {
        std::sort(gaps.begin(), gaps.end());
        return gaps.empty() ? 0
                            : static_cast<double>(gaps[(gaps.size() - 1) * percent / 100]) / 1e6;
    }

    Watchdog watchdog_;
    ScratchDomain domain_;
    Traffic traffic_;
    Random random_;
    Shared<std::array<Pulse, kSurvivors>> pulses_;
    std::array<Child, kSurvivors> survivors_;
    std::uint32_t producers_ = 2;
    std::uint32_t stops_ = 0;
    std::uint32_t held_up_ = 0;
    std::vector<std::uint64_t> gaps_;    // of one survivor, per round
    std::vector<std::uint64_t> stalls_;  // of all of them
};

TEST_F(RandomKills, of_producers_and_consumers_lose_nothing_and_stop_nobody) {
    run(64, scaled(2000, 10'000));
}

TEST_F(RandomKills, of_sleepers_and_their_wakers_leave_nobody_asleep) { run(1, scaled(500, 5000)); }

}  // namespace
}  // namespace telpher::crash
