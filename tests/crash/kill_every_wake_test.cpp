// Goal:   a process killed after any instruction of an offer or a poll that has to wake a sleeper
//         leaves nobody asleep beside available work.
// Method: as kill_every_instruction_test.cpp; the sleeper is a third process. After each kill it
// must have
//         its message (or its room) long before the one second that bounds every sleep anyway.

#include "tests/crash/sleeper.hpp"
#include "tests/crash/tracer.hpp"

#include <gtest/gtest.h>

#include <unistd.h>

#include <algorithm>
#include <cstdio>

namespace telpher::crash {
namespace {

using namespace std::chrono_literals;

class KillEveryWake : public ::testing::Test {
  protected:
    KillEveryWake()
        : watchdog_(120),
          domain_(::testing::UnitTest::GetInstance()->current_test_info()->name()),
          server_(domain_.open()) {}

    void open(std::uint32_t capacity) {
        queue_ = server_.create_queue("queue", {.capacity = capacity}).value();
        other_ = server_.create_queue("other", {.capacity = 8}).value();
    }

    // Until the sleeper sleeps again and holds no chunk but `held`; `offered` lie in the queue.
    void rest(std::uint64_t offered, std::uint64_t held) {
        std::string problem = "never asleep";
        for (int i = 0; i < 200 && !problem.empty(); ++i) {
            ASSERT_TRUE(sleeper_->wait_for_sleep());
            problem = audit(server_, settle(queue_) + held, offered);
        }
        ASSERT_EQ(problem, "");
    }

    TracedRole victim(const std::function<void(Queue&)>& act) {
        auto queue = std::make_shared<Queue>();
        const auto prepare = [this, queue] {
            auto* server = new Server(domain_.open());  // never closed
            *queue = server->queue("queue").value();
            Queue other = server->queue("other").value();
            static_cast<void>(other.offer(numbered(0, 48)));
            other.poll().value().release();
            return true;
        };
        return {prepare, [queue, act] { act(*queue); }};
    }

    // Kills the victim after each of its instructions; the sleeper must have done `due()` things
    // then.
    void kill_everywhere(const char* name,
                         const std::function<void(Queue&)>& act,
                         const std::function<void()>& before,
                         const std::function<std::uint64_t(const QueueStatus&)>& due) {
        Tracer tracer(victim(act));
        std::uint32_t instructions = 1;
        std::uint32_t points = 0;
        std::uint64_t slowest = 0;
        for (std::uint32_t n = 0; n < instructions; ++n) {
            ASSERT_NO_FATAL_FAILURE(before()) << "before " << n;
            ASSERT_TRUE(tracer.start());
            if (points == 0) {
                instructions = tracer.record();  // this one is not interrupted
                ASSERT_NE(instructions, 0U);
            } else {
                ASSERT_NE(soak() ? tracer.step(n) : tracer.jump(n), Tracer::Stop::lost);
            }
            tracer.kill();
            ++points;
            const auto status = queue_.status();
            ASSERT_TRUE(status);
            const auto took = sleeper_->wait_for(due(*status));
            ASSERT_TRUE(took) << "killed after instruction " << n << ": the sleeper sleeps on, "
                              << sleeper_->done() << " done, " << status->offered << " offered, "
                              << status->polled << " polled";
            slowest = std::max(slowest, *took);
        }
        std::printf("  %s: %u kill points, the sleeper went on at most %.2f ms after a kill\n",
                    name,
                    points,
                    static_cast<double>(slowest) / 1e6);
    }

    Watchdog watchdog_;
    ScratchDomain domain_;
    Server server_;
    Queue queue_;
    Queue other_;
    std::optional<Sleeper> sleeper_;
};

TEST_F(KillEveryWake, of_an_offer_leaves_no_consumer_asleep_beside_a_message) {
    open(4);
    sleeper_.emplace(domain_, "queue", Sleeper::consume);
    const Message message = numbered(7, 48);
    kill_everywhere(
        "offer",
        [&](Queue& queue) { static_cast<void>(queue.offer(message)); },
        [&] { rest(0, 0); },
        [](const QueueStatus& status) { return status.offered; });
}

TEST_F(KillEveryWake, of_a_poll_leaves_no_producer_asleep_beside_room) {
    open(1);
    sleeper_.emplace(domain_, "queue", Sleeper::produce);
    // One message lies in the queue, the next one lies ready in the sleeping producer's hands.
    const auto before = [&] {
        ASSERT_TRUE(sleeper_->wait_for(1));
        rest(1, 1);
    };
    kill_everywhere(
        "poll",
        [&](Queue& queue) { static_cast<void>(queue.poll()); },
        before,
        [](const QueueStatus& status) { return status.polled + 1; });
}

}  // namespace
}  // namespace telpher::crash
