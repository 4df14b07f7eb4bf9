// Goal:   a process killed or stopped at any step of an offer for later has sent its message or has not; what is
//         sent is handed out once, not before it is due, and no chunk stays behind.
// Method: as lease_steps_test.cpp.

#include "shm/attachment.hpp"
#include "src/client/domain_core.hpp"
#include "tests/crash/step_victim.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <thread>

namespace telpher::crash {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
using Numbers = std::vector<std::uint64_t>;
using Fate = StepVictim::Fate;

class DelaySteps : public ::testing::Test {
  protected:
    DelaySteps()
        : watchdog_(300),
          domain_(::testing::UnitTest::GetInstance()->current_test_info()->name()),
          server_(domain_.open()),
          queue_(
              server_
                  .create_queue("queue", {.capacity = 4, .delivery = DeliveryMode::at_least_once})
                  .value()) {}
    ~DelaySteps() override { StepVictim::seed_bug(shm::Bug::none); }

    // Offers message 1 for later.
    VictimRole producer(std::chrono::milliseconds delay) {
        auto queue = std::make_shared<Queue>();
        return {.prepare =
                    [this, queue] {
                        *queue = (new Server(domain_.open()))->queue("queue").value();
                        return true;
                    },
                .act =
                    [queue, delay] {
                        static_cast<void>(queue->offer(numbered(1, 48).deliver_after(delay)));
                    }};
    }
    void fill() {
        static_cast<void>(take({}));
        ASSERT_TRUE(queue_.offer(numbered(2, 48)));
        ASSERT_TRUE(queue_.offer(numbered(3, 48)));
        filled_ = Clock::now();
    }
    Numbers take(Duration patience) {
        Numbers numbers;
        while (auto delivery = queue_.poll(patience)) {
            numbers.push_back(number_of(*delivery));
            EXPECT_TRUE(numbers.back() != 1 || Clock::now() >= filled_ + kDelay) << "too early";
            EXPECT_TRUE(delivery->ack());
        }
        return numbers;
    }
    void expect_at_rest() {
        const VerifyReport report = server_.verify().value();
        EXPECT_EQ(report.problems, std::vector<std::string>{});
        EXPECT_EQ(report.chunks_claimed + report.chunks_parked + report.chunks_lingering, 0U);
        EXPECT_EQ(report.chunks_offered, 0U);
        EXPECT_LE(report.chunks_owned, 64U) << "kept for reuse";
    }

    static constexpr auto kDelay = 40ms;
    Watchdog watchdog_;
    ScratchDomain domain_;
    Server server_;
    Queue queue_;
    Clock::time_point filled_;
    StepVictim victim_;
};

TEST_F(DelaySteps, killed_in_an_offer_for_later) {
    std::uint32_t sent = 0;
    const std::uint32_t steps = victim_.kill_at_every_step(
        "offer for later",
        [this] { fill(); },
        producer(kDelay),
        [&](bool finished) {
            victim_.child().kill();
            EXPECT_EQ(server_.processes().value().size(), 1U);
            Numbers polled = take({});
            const std::uint64_t parked = server_.verify().value().chunks_parked;
            const bool was_sent = parked != 0 || std::count(polled.begin(), polled.end(), 1) != 0;
            EXPECT_TRUE(was_sent || !finished);
            if (was_sent && std::count(polled.begin(), polled.end(), 1) == 0) {
                auto later = queue_.poll(2s);  // well below the 5 s of a janitor that was not told
                ASSERT_TRUE(later);
                EXPECT_GE(Clock::now(), filled_ + kDelay);
                EXPECT_EQ(later->deliveries(), 1U);
                EXPECT_EQ(later->reason(), ReturnReason::none);
                polled.push_back(number_of(*later));
                EXPECT_TRUE(later->ack());
            }
            sent += was_sent ? 1U : 0U;
            std::sort(polled.begin(), polled.end());
            EXPECT_EQ(polled, was_sent ? (Numbers{1, 2, 3}) : (Numbers{2, 3}));
            expect_at_rest();
        });
    EXPECT_GE(steps, 5U);
    EXPECT_GE(sent, 2U) << "killed behind the commit, and not at all";
    EXPECT_LT(sent, steps) << "killed before it";
}

// Others go on beside it, whatever it has done.
TEST_F(DelaySteps, stopped_in_an_offer_for_later) {
    bool stopped = true;
    for (std::uint32_t n = 1; stopped; ++n) {
        fill();
        const auto end = victim_.run(producer(kDelay), Fate::stopped, n);
        ASSERT_NE(end, StepVictim::End::failed);
        stopped = end == StepVictim::End::met_fate;
        Numbers polled = take({});
        for (std::uint64_t number = 10; number < 22; ++number) {
            ASSERT_TRUE(queue_.offer(numbered(number, 48)));
            const Numbers next = take({});
            polled.insert(polled.end(), next.begin(), next.end());
        }
        ASSERT_TRUE(!stopped || victim_.let_finish(10s)) << "it does not go on";
        const Numbers rest = take(2 * kDelay + 100ms);
        polled.insert(polled.end(), rest.begin(), rest.end());
        EXPECT_EQ(std::count(polled.begin(), polled.end(), 1), 1);
        EXPECT_EQ(polled.size(), 15U);
        victim_.child().kill();
        EXPECT_EQ(server_.processes().value().size(), 1U);
        expect_at_rest();
        ASSERT_FALSE(HasFailure()) << "stopped at step " << n << ", " << victim_.where();
    }
}

// The pass that hands it out when it is due.
TEST_F(DelaySteps, killed_in_the_pass_that_hands_it_out) {
    auto client = std::make_shared<Client*>(nullptr);
    const VictimRole keeper{
        .prepare =
            [this, client] {
                *client = new Client(connect("shm:" + domain_.name()).value());
                std::this_thread::sleep_for(kDelay);
                return true;
            },
        .act = [client] { detail::DomainCore::of(**client)->attachment().keep_leases(); }};
    const std::uint32_t steps = victim_.kill_at_every_step(
        "pass",
        [this] {
            fill();
            ASSERT_TRUE(queue_.offer(numbered(1, 48).deliver_after(kDelay)));
        },
        keeper,
        [&](bool /*finished*/) {
            victim_.child().kill();
            EXPECT_EQ(server_.processes().value().size(), 1U);
            Numbers polled = take(100ms);
            std::sort(polled.begin(), polled.end());
            EXPECT_EQ(polled, (Numbers{1, 2, 3}));
            expect_at_rest();
        });
    EXPECT_GE(steps, 2U);
}

TEST_F(DelaySteps, catches_a_time_that_is_noted_too_late) {
    StepVictim::seed_bug(shm::Bug::due_after_parked);
    fill();
    ASSERT_EQ(victim_.run(producer(60s), Fate::killed, 1, "lease.later.due_late"),
              StepVictim::End::met_fate);
    EXPECT_EQ(server_.processes().value().size(), 1U);
    filled_ -= kDelay;
    Numbers polled = take(200ms);
    EXPECT_EQ(std::count(polled.begin(), polled.end(), 1), 1)
        << "the mistake is seen: it is handed out a minute early";
    StepVictim::seed_bug(shm::Bug::none);
}

}  // namespace
}  // namespace telpher::crash
