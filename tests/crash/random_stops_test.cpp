// Goal:   producers and consumers stopped (SIGSTOP) at random moments and continued: nothing is
//         lost, doubled, torn or out of order, nothing leaks, the domain is sound at the end, and
//         the others go on while one, or one of each, is stopped.
// Method: three producers and three consumers of one queue, none of them ever killed, so that the
//         account is exact; their books lie in shared memory (traffic.hpp). TELPHER_SOAK=1: five
//         times as many.

#include "tests/crash/traffic.hpp"

#include <gtest/gtest.h>

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>

namespace telpher::crash {
namespace {

using namespace std::chrono_literals;

constexpr std::uint32_t kEach = 3;
constexpr std::uint32_t kParties = 2 * kEach;  // producers first, then consumers
constexpr std::uint32_t kStopUsMax = 20'000;
constexpr std::uint32_t kBetweenUsMax = 4000;

class RandomStops : public ::testing::Test {
  protected:
    RandomStops()
        : watchdog_(100),
          domain_(::testing::UnitTest::GetInstance()->current_test_info()->name()),
          traffic_(domain_),
          random_(seed()) {}

    void start() {
        for (std::uint32_t i = 0; i < kParties; ++i) {
            parties_[i] = Child([this, i] {
                Pulse* pulse = &(*pulses_)[i];
                return i < kEach ? traffic_.produce(i, pulse) : traffic_.consume(i - kEach, pulse);
            });
        }
        // Everybody has attached: from here on nobody needs a lock that a stopped one might hold.
        while (std::any_of(pulses_->begin(), pulses_->end(), [](Pulse& pulse) {
            return pulse.done.load() == 0;
        })) {
            ASSERT_FALSE(traffic_.failed()) << traffic_.first_failure();
            usleep(1000);
        }
    }

    [[nodiscard]] std::uint64_t done_by_others(std::uint32_t stopped, std::uint32_t also) {
        std::uint64_t done = 0;
        for (std::uint32_t i = 0; i < kParties; ++i) {
            done += i == stopped || i == also ? 0 : (*pulses_)[i].done.load();
        }
        return done;
    }

    // One party is stopped, every fourth time one of the other side with it.
    void stop_once() {
        const std::uint32_t one = random_.below(kParties);
        const std::uint32_t other =
            random_.below(4) == 0 ? (one < kEach ? kEach : 0) + random_.below(kEach) : one;
        parties_[one].stop();
        parties_[other].stop();
        usleep(500);  // until the signals have arrived, on whatever processor
        const std::uint64_t before = done_by_others(one, other);
        usleep(1000 + random_.below(kStopUsMax));
        stops_ += one == other ? 1 : 2;
        ++moments_;
        if (done_by_others(one, other) == before) {
            ++held_up_;
            wait_for_others(one, other, before);
        }
        parties_[one].go_on();
        parties_[other].go_on();
        usleep(random_.below(kBetweenUsMax));
    }

    // A party that was chosen to wake, and stopped before it did, costs the others one sleep: a
    // second (shm/doorbell.hpp). Never more.
    void wait_for_others(std::uint32_t one, std::uint32_t other, std::uint64_t before) {
        const std::uint64_t start = now_ns();
        while (done_by_others(one, other) == before && now_ns() - start < 5'000'000'000U) {
            usleep(1000);
        }
        longest_ns_ = std::max(longest_ns_, now_ns() - start);
    }

    void end() {
        traffic_.stop_producers();
        for (std::uint32_t i = 0; i < kParties; ++i) {
            if (i == kEach) {
                traffic_.stop_consumers();
            }
            const int status = parties_[i].wait_for_end(20s);
            EXPECT_EQ(status, 0) << "party " << i << " " << describe_end(status);
        }
    }

    void run(std::uint32_t capacity, std::uint32_t stops) {
        traffic_.make_queue({.capacity = capacity});
        ASSERT_NO_FATAL_FAILURE(start());
        while (stops_ < stops) {
            stop_once();
            ASSERT_FALSE(traffic_.failed())
                << "after " << stops_ << " stops: " << traffic_.first_failure();
        }
        end();
        Server server = domain_.open();
        Queue queue = server.queue("queue").value();
        EXPECT_EQ(traffic_.audit_books(queue, kEach, 0), "");
        const QueueStatus status = queue.status().value();
        EXPECT_EQ(status.abandoned, 0U) << "nobody died";
        EXPECT_EQ(status.offered, status.polled);
        EXPECT_EQ(audit(server, settle(queue)), "");
        EXPECT_EQ(server.processes().value().size(), 1U);
        std::printf(
            "  %u stops, the others went on at once in %u of %u, else after at most %.0f ms; %s\n",
            stops_,
            moments_ - held_up_,
            moments_,
            static_cast<double>(longest_ns_) / 1e6,
            traffic_.summary().c_str());
        EXPECT_LT(longest_ns_, 2'000'000'000U) << "others waited for one that was stopped";
    }

    Watchdog watchdog_;
    ScratchDomain domain_;
    Traffic traffic_;
    Random random_;
    Shared<std::array<Pulse, kParties>> pulses_;
    std::array<Child, kParties> parties_;
    std::uint32_t stops_ = 0;
    std::uint32_t moments_ = 0;
    std::uint32_t held_up_ = 0;
    std::uint64_t longest_ns_ = 0;
};

TEST_F(RandomStops, of_producers_and_consumers_lose_nothing_and_stop_nobody_else) {
    run(64, scaled(100, 500));
    EXPECT_LE(held_up_ * 20, moments_) << "others waited for one that was stopped";
}

// One message at a time: everybody sleeps and is woken all the time, and stopped in the middle.
TEST_F(RandomStops, of_sleepers_and_their_wakers_leave_nobody_asleep) { run(1, scaled(100, 500)); }

}  // namespace
}  // namespace telpher::crash
