// Goal:   a process killed or stopped at any step of changing a setting leaves the old value or the new
//         one: nobody waits, nobody reads anything else, and others change it afterwards. The same of one
//         killed while it counts how long a call took: the figures stay, and go on.
// Method: as kill_every_step_steps_test.cpp and stop_every_step_steps_test.cpp.

#include "tests/crash/step_victim.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <string>

namespace telpher::crash {
namespace {

using namespace std::chrono_literals;
using Fate = StepVictim::Fate;
using End = StepVictim::End;

class SettingsSteps : public ::testing::Test {
  protected:
    SettingsSteps()
        : watchdog_(150),
          domain_(::testing::UnitTest::GetInstance()->current_test_info()->name()),
          server_(domain_.open()),
          client_(connect("shm:" + domain_.name(),
                          {.retry = RetryPolicy{.attempts_max = 9,
                                                .base = 1ns,
                                                .cap = 1ns,
                                                .budget = {},
                                                .breaker = {}}})
                      .value()),
          queue_(server_.create_queue("full", {.capacity = 1}).value()) {
        static_cast<void>(queue_.offer(numbered(1, 48)));
    }

    [[nodiscard]] std::string value() const {
        const auto settings = server_.settings().value();
        return settings.front().value;
    }
    // How often an offer to a full queue is tried.
    std::uint32_t attempts() {
        RetryReport report;
        static_cast<void>(client_.queue("full")->offer(numbered(2, 48), 0s, {.report = &report}));
        return report.attempts;
    }
    VictimRole setter() {
        auto server = std::make_shared<Server*>(nullptr);
        return {.prepare =
                    [this, server] {
                        *server = new Server(domain_.open());  // never closed
                        return true;
                    },
                .act = [server] { static_cast<void>((*server)->set("retry.attempts_max", "5")); }};
    }
    // The value is one of the two, and what it says is what happens.
    void expect_whole(bool finished) {
        const std::string now = value();
        EXPECT_TRUE(now == "5" || (now == "3" && !finished)) << now;
        EXPECT_EQ(std::to_string(attempts()), now);
        EXPECT_TRUE(server_.set("retry.attempts_max", "2")) << "others go on";
        EXPECT_EQ(attempts(), 2U);
        EXPECT_TRUE(server_.verify().value().problems.empty());
    }

    Watchdog watchdog_;
    ScratchDomain domain_;
    Server server_;
    Client client_;
    Queue queue_;
    StepVictim victim_;
};

TEST_F(SettingsSteps, killed_while_it_sets_one) {
    const std::uint32_t steps = victim_.kill_at_every_step(
        "set",
        [this] { ASSERT_TRUE(server_.set("retry.attempts_max", "3")); },
        setter(),
        [this](bool finished) { expect_whole(finished); });
    EXPECT_GE(steps, 2U);
}

TEST_F(SettingsSteps, stopped_while_it_sets_one) {
    bool stopped = true;
    for (std::uint32_t n = 1; stopped; ++n) {
        ASSERT_TRUE(server_.set("retry.attempts_max", "3"));
        const auto end = victim_.run(setter(), Fate::stopped, n);
        ASSERT_NE(end, End::failed);
        stopped = end == End::met_fate;
        expect_whole(!stopped);
        ASSERT_TRUE(!stopped || victim_.let_finish(10s)) << "it does not go on";
        const std::string now = value();
        EXPECT_TRUE(now == "2" || now == "5") << "whoever was last: " << now;
        victim_.child().kill();
        ASSERT_FALSE(HasFailure()) << "stopped at step " << n << ", " << victim_.where();
    }
}

TEST_F(SettingsSteps, killed_while_it_counts_how_long_a_call_took) {
    const Function served =
        server_.serve("f", [](const Message& request) { return request; }).value();
    auto client = std::make_shared<Client*>(nullptr);
    const VictimRole caller{
        .prepare =
            [this, client] {
                *client = new Client(connect("shm:" + domain_.name()).value());
                return true;
            },
        .act =
            [client] {
                static_cast<void>((*client)->send("f", Message::text("order", "x"), 10s));
            }};
    for (const char* step : {"latency.max", "latency.count"}) {
        const std::uint64_t before = served.status()->latency.count();
        ASSERT_EQ(victim_.run(caller, Fate::killed, 1, step), End::met_fate) << step;
        EXPECT_EQ(served.status()->latency.count(), before) << "it is not counted";
        ASSERT_TRUE(client_.send("f", Message::text("order", "x"), 10s));
        const Latency latency = served.status()->latency;
        EXPECT_EQ(latency.count(), before + 1);
        EXPECT_LE(latency.p50(), latency.max());
        EXPECT_TRUE(server_.verify().value().problems.empty());
    }
}

}  // namespace
}  // namespace telpher::crash
