// Goal:   a process killed with pending and finished asynchronous operations: what was committed is
//         in the queue or counted as abandoned, exactly; its pending offers are not sent out of
//         order or in part; its memory comes back; the others go on.
// Method: a victim polls and offers asynchronously, keeps all that it takes, cancels some, and dies
//         at a random moment, while the survivor offers to it and polls from it. TELPHER_SOAK=1: ten
//         times as many victims.

#include "tests/crash/harness.hpp"

#include <gtest/gtest.h>

#include <unistd.h>

#include <cstdio>
#include <utility>
#include <vector>

namespace telpher::crash {
namespace {

using namespace std::chrono_literals;

constexpr std::uint32_t kLifeUs = 4000;
constexpr std::size_t kPending = 20;

class AsyncKills : public ::testing::Test {
  protected:
    AsyncKills()
        : watchdog_(120),
          domain_(::testing::UnitTest::GetInstance()->current_test_info()->name()),
          random_(seed()) {}

    // The life of a victim, until it is killed. It keeps all that it takes.
    [[nodiscard]] int live(std::uint64_t from) const {
        Random random(from);
        Server server = domain_.open();
        Queue in = server.queue("in").value();
        Queue out = server.queue("out").value();
        std::vector<Future<Delivery>> polls(kPending);
        std::vector<Future<std::uint64_t>> offers(kPending);
        std::vector<Delivery> kept;
        for (std::uint64_t number = 0;;) {
            auto& poll = polls[random.below(kPending)];
            if (!poll || (!poll.ready() && random.below(4) == 0 && poll.cancel())) {
                poll = in.poll_async(Duration(random.below(1'000'000) + 1));
            } else if (poll.ready() && random.below(2) == 0) {
                if (auto delivery = poll.get({})) {
                    kept.push_back(std::move(*delivery));
                }
            }
            auto& offer = offers[number % kPending];
            if (!offer || offer.ready()) {
                offer = out.offer_async(numbered(number++, 48), 600s);
            }
        }
    }

    // Offers to the victim and polls from it, for a while.
    void work() {
        const std::uint64_t end = now_ns() + 1'000ULL * random_.below(kLifeUs);
        while (now_ns() < end) {
            accepted_ += in_.offer(numbered(accepted_, 48)) ? 1U : 0U;
            take(out_.poll());
            if (random_.below(8) == 0) {
                usleep(random_.below(200));
            }
        }
    }
    // One of the victim's numbered offers, in their order.
    bool take(const Result<Delivery>& delivery) {
        if (delivery) {
            EXPECT_EQ(number_of(*delivery), next_out_);
            ++next_out_;
            ++received_;
        }
        return delivery.has_value();
    }

    void run_round() {
        next_out_ = 0;
        Child victim([this, from = random_.next()] { return live(from); });
        work();
        victim.kill();
        ASSERT_EQ(server_.processes()->size(), 1U);  // reaps it
        while (take(out_.poll())) {
        }
        drained_ += drain(in_).size();
        const QueueStatus status = in_.status().value();
        ASSERT_EQ(accepted_, drained_ + status.abandoned);
        // The survivor goes on, asynchronously, too.
        auto next = in_.poll_async(30s);
        ASSERT_TRUE(in_.offer(numbered(7, 48)));
        ASSERT_EQ(number_of(next.get(30s).value()), 7U);
        auto sent = out_.offer_async(numbered(8, 48), 30s);
        ASSERT_TRUE(sent.get(30s));
        ASSERT_EQ(number_of(out_.poll(30s).value()), 8U);
    }

    Watchdog watchdog_;
    ScratchDomain domain_;
    Random random_;
    Server server_ = domain_.open();
    Queue in_ = server_.create_queue("in", {.capacity = 16}).value();
    Queue out_ = server_.create_queue("out", {.capacity = 2}).value();
    std::uint64_t accepted_ = 0;
    std::uint64_t drained_ = 0;
    std::uint64_t received_ = 0;
    std::uint64_t next_out_ = 0;
};

TEST_F(AsyncKills, lose_nothing_but_what_the_dead_had_taken) {
    const std::uint32_t rounds = scaled(500, 5000);
    for (std::uint32_t round = 0; round < rounds && !HasFatalFailure() && !HasFailure(); ++round) {
        run_round();
    }
    const VerifyReport report = server_.verify().value();
    EXPECT_EQ(report.problems, std::vector<std::string>{});
    EXPECT_EQ(report.chunks_claimed + report.chunks_offered, 0U);
    std::printf("  %u killed: %llu messages accepted, %llu abandoned; %llu received from them\n",
                rounds,
                static_cast<unsigned long long>(accepted_),
                static_cast<unsigned long long>(in_.status()->abandoned),
                static_cast<unsigned long long>(received_));
}

}  // namespace
}  // namespace telpher::crash
