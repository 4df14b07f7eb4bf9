// Goal:   who walks over what others claim, or commit, as fast as it walks comes to the end of it.
// Method: a step hook lets a second client take and send messages between the steps of a poll: first more than a
//         lap's half at once, then one for every two steps. The poll must be through long before it has walked all that.
//         Once, a consumer beside a quick one walked until it took the full queue for damaged.

#include "shm/base/bug.hpp"
#include "shm/base/step.hpp"
#include "tests/crash/harness.hpp"
#include "tests/crash/step_victim.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <string>

namespace telpher::crash {
namespace {

using namespace std::chrono_literals;

constexpr int kHeadStart = 300;  // of 512 slots
constexpr int kWalkMax = 64;

struct Chase {
    const char* step = nullptr;  // of which there is one for each position
    std::function<bool()> others;
    int walked = 0;
    bool inside = false;  // what the others do has steps of its own
    bool sound = true;    // all that the others did succeeded
};
Chase chase;

void go_on_meanwhile(const char* name) {
    if (chase.inside || chase.step == nullptr || std::string(name) != chase.step) {
        return;
    }
    chase.inside = true;
    ++chase.walked;
    const int times = chase.walked == 1 ? kHeadStart : chase.walked % 2;
    for (int i = 0; i < times; ++i) {
        chase.sound = chase.others() && chase.sound;
    }
    chase.inside = false;
}

class RingChase : public ::testing::Test {
  protected:
    RingChase()
        : watchdog_(60),
          domain_(::testing::UnitTest::GetInstance()->current_test_info()->name()),
          server_(domain_.open()),
          queue_(server_.create_queue("queue", {.capacity = 256}).value()),
          others_(domain_.open()),
          theirs_(others_.queue("queue").value()) {
        for (std::uint64_t number = 1; number <= 200; ++number) {
            EXPECT_TRUE(queue_.offer(numbered(number, 48)));
        }
        shm::step_hook = go_on_meanwhile;
    }
    ~RingChase() override {
        chase = {};
        shm::step_hook = nullptr;
    }
    RingChase(const RingChase&) = delete;
    RingChase& operator=(const RingChase&) = delete;

    // One `act` while others go on at each `step` of it; and again with the mistake, which must be seen.
    void expect_short(const char* step,
                      const std::function<bool()>& others,
                      const std::function<bool()>& act) {
        for (const shm::Bug bug : {shm::Bug::none, shm::Bug::hint_not_read_again}) {
            shm::seeded_bug = bug;
            chase = {.step = step, .others = others};
            const bool done = act();
            chase.step = nullptr;
            shm::seeded_bug = shm::Bug::none;
            EXPECT_TRUE(done && chase.sound);
            EXPECT_EQ(chase.walked <= kWalkMax, bug == shm::Bug::none) << chase.walked;
        }
    }

    Watchdog watchdog_;
    ScratchDomain domain_;
    Server server_;
    Queue queue_;
    Server others_;
    Queue theirs_;
};

TEST_F(RingChase, a_consumer_comes_to_the_head) {
    expect_short(
        "ring.claim.load_pos",
        [&] { return theirs_.poll().has_value() && theirs_.offer(numbered(1, 48)).has_value(); },
        [&] { return queue_.poll().has_value(); });
}

TEST_F(RingChase, a_producer_comes_to_the_tail) {
    expect_short(
        "ring.commit.load_pos",
        [&] { return theirs_.offer(numbered(1, 48)).has_value() && theirs_.poll().has_value(); },
        [&] { return queue_.offer(numbered(2, 48)).has_value(); });
}

TEST_F(RingChase, who_peeks_comes_to_the_head) {
    expect_short(
        "ring.front.load_pos",
        [&] { return theirs_.poll().has_value() && theirs_.offer(numbered(1, 48)).has_value(); },
        [&] { return queue_.peek().has_value(); });
}

}  // namespace
}  // namespace telpher::crash
