// Goal:   a process killed or stopped at any step of its parker, while that takes a message for a
//         pending poll or sends one for a pending offer, or at any step of ending a future that
//         nobody has read: every message is in its queue, or was handed over, or is counted as
//         abandoned; once. And a mistake there is caught.
// Method: as kill_every_step_steps_test.cpp and stop_every_step_steps_test.cpp; the steps counted
//         are the parker's where it is the one who suffers.

#include "tests/crash/step_victim.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>

namespace telpher::crash {
namespace {

using namespace std::chrono_literals;
using Numbers = std::vector<std::uint64_t>;
using Fate = StepVictim::Fate;

constexpr const char* kParker = "telpher-parker";

class AsyncSteps : public ::testing::Test {
  protected:
    AsyncSteps()
        : watchdog_(250),
          domain_(::testing::UnitTest::GetInstance()->current_test_info()->name()),
          server_(domain_.open()),
          queue_(server_.create_queue("queue", {.capacity = 2}).value()) {
        static_cast<void>(server_.create_queue("idle", {.capacity = 1}).value());
    }
    ~AsyncSteps() override { StepVictim::seed_bug(shm::Bug::none); }

    // A victim whose parker runs already.
    VictimRole member(const std::function<void(Queue&)>& act, const char* thread) {
        auto queue = std::make_shared<Queue>();
        return {.prepare =
                    [this, queue] {
                        auto* server = new Server(domain_.open());  // never closed
                        *queue = server->queue("queue").value();
                        auto* idle = new Queue(server->queue("idle").value());
                        auto* first = new Future<Delivery>(idle->poll_async(600s));
                        return !first->wait(20ms);
                    },
                .act = [queue, act] { act(*queue); },
                .thread = thread};
    }
    // Polls before there is a message, then offers one.
    VictimRole polling() {
        return member(
            [this](Queue& queue) {
                auto future = queue.poll_async(600s);
                if (queue.offer(numbered(1, 48), 10s)) {
                    offered_->store(true);
                }
                auto delivery = future.get(2s);
                if (delivery) {
                    handed_->store(true);
                    delivery->release();
                }
            },
            kParker);
    }
    // Offers to a full queue, then polls from it.
    VictimRole offering() {
        return member(
            [](Queue& queue) {
                auto future = queue.offer_async(numbered(9, 48), 600s);
                static_cast<void>(queue.poll(10s));
                static_cast<void>(future.get(2s));
            },
            kParker);
    }
    VictimRole leaving_unread() {
        return member([](Queue& queue) { const auto unread = queue.poll_async(1s); }, nullptr);
    }

    void clear() {
        static_cast<void>(drain(queue_));
        offered_->store(false);
        handed_->store(false);
        abandoned_ = queue_.status().value().abandoned;
    }
    std::uint64_t abandoned() { return queue_.status().value().abandoned - abandoned_; }
    void expect_whole() {
        EXPECT_EQ(server_.processes().value().size(), 1U);
        EXPECT_EQ(audit(server_, settle(queue_)), "");
    }
    // Message 1 is somewhere, once, if it was offered.
    void expect_one(bool finished) {
        EXPECT_EQ(server_.processes().value().size(), 1U);
        const Numbers rest = drain(queue_);
        const std::uint64_t found = rest.size() + abandoned();
        // Killed with the delivery in its hand it is counted; after its release it was handed over.
        EXPECT_LE(found, 1U);
        if (offered_->load() && !handed_->load()) {
            EXPECT_EQ(found, 1U) << "it is lost";
        }
        EXPECT_TRUE(!finished || (handed_->load() && found == 0));
        expect_whole();
    }

    Watchdog watchdog_;
    ScratchDomain domain_;
    Server server_;
    Queue queue_;
    StepVictim victim_;
    Shared<std::atomic<bool>> offered_;
    Shared<std::atomic<bool>> handed_;
    std::uint64_t abandoned_ = 0;
};

TEST_F(AsyncSteps, killed_in_the_parker_that_polls) {
    const std::uint32_t steps = victim_.kill_at_every_step(
        "parker, polling",
        [this] { clear(); },
        polling(),
        [this](bool finished) { expect_one(finished); });
    EXPECT_GE(steps, 20U);
}

TEST_F(AsyncSteps, killed_in_the_parker_that_offers) {
    const auto fill = [this] {
        clear();
        ASSERT_TRUE(queue_.offer(numbered(1, 48)));
        ASSERT_TRUE(queue_.offer(numbered(2, 48)));
    };
    victim_.kill_at_every_step("parker, offering", fill, offering(), [this](bool finished) {
        EXPECT_EQ(server_.processes().value().size(), 1U);
        Numbers rest = drain(queue_);
        EXPECT_LE(std::count(rest.begin(), rest.end(), 9), 1);
        EXPECT_TRUE(!finished || rest == (Numbers{2, 9}));
        std::erase(rest, 9U);
        EXPECT_TRUE(rest == (Numbers{1, 2}) || rest == (Numbers{2}));
        expect_whole();
    });
}

TEST_F(AsyncSteps, stopped_in_the_parker_that_polls) {
    bool stopped = true;
    for (std::uint32_t n = 1; stopped; n += scaled(2, 1)) {
        clear();
        const auto end = victim_.run(polling(), Fate::stopped, n);
        ASSERT_NE(end, StepVictim::End::failed);
        stopped = end == StepVictim::End::met_fate;
        Numbers polled = drain(queue_);
        for (std::uint64_t number = 10; number < 22; ++number) {  // laps of the others
            ASSERT_TRUE(queue_.offer(numbered(number, 48), 10s));
            const Numbers next = drain(queue_);
            polled.insert(polled.end(), next.begin(), next.end());
        }
        ASSERT_TRUE(!stopped || victim_.let_finish(25s) || !handed_->load());
        victim_.child().kill();
        EXPECT_EQ(server_.processes().value().size(), 1U);
        EXPECT_LE(std::count(polled.begin(), polled.end(), 1), 1) << n;
        std::erase(polled, 1U);
        EXPECT_TRUE(std::is_sorted(polled.begin(), polled.end())) << n;
        expect_whole();
        ASSERT_FALSE(HasFailure()) << "stopped at step " << n << ", " << victim_.where();
    }
}

TEST_F(AsyncSteps, killed_while_an_unread_future_ends) {
    const auto fill = [this] {
        clear();
        ASSERT_TRUE(queue_.offer(numbered(1, 48)));
        offered_->store(true);
    };
    victim_.kill_at_every_step("unread future", fill, leaving_unread(), [this](bool finished) {
        EXPECT_EQ(server_.processes().value().size(), 1U);
        const Numbers rest = drain(queue_);
        EXPECT_EQ(rest.size() + abandoned(), 1U);
        EXPECT_TRUE(!finished || rest == Numbers{1});
        expect_whole();
    });
}

TEST_F(AsyncSteps, catches_a_future_that_drops_what_nobody_read) {
    StepVictim::seed_bug(shm::Bug::unread_future_drops);
    clear();
    ASSERT_TRUE(queue_.offer(numbered(1, 48)));
    ASSERT_EQ(victim_.run(leaving_unread(), Fate::killed, 100'000), StepVictim::End::finished);
    EXPECT_EQ(server_.processes().value().size(), 1U);
    EXPECT_EQ(drain(queue_).size() + abandoned(), 0U)
        << "the mistake is seen: message 1 is missing";
}

}  // namespace
}  // namespace telpher::crash
