// Goal:   the ring behaves as one bounded first-in-first-out queue under every schedule of a few
//         parties with at most two preemptions: nothing lost, nothing twice, order kept, FULL and
//         EMPTY true.
// Method: fibers.hpp explores, queue_history.hpp judges (linearizability), tiny rings and two or
// three
//         chunks make wrap-around, reuse and lagging hints happen in each schedule.
// Not here: memory orders (ThreadSanitizer, tests/unit/shm), deaths (kill_every_*).

#include "shm/base/bug.hpp"
#include "tests/crash/fibers.hpp"
#include "tests/crash/harness.hpp"
#include "tests/crash/ring_world.hpp"

#include <gtest/gtest.h>

#include <cstdio>

namespace telpher::crash {
namespace {

using shm::Bug;

struct Scenario {
    std::uint32_t capacity = 1;
    std::uint32_t chunks = 3;
    std::uint32_t laps = 0;            // messages that have passed before
    std::uint32_t lag = 0;             // of the hints
    std::vector<std::string> parties;  // letters: o = offer, p = poll, c = close
    int preemptions = 2;
    int mortal = -1;  // the party that dies at each of its steps
};

Explored run(const Scenario& scenario, Bug bug = Bug::none) {
    RingWorld world(scenario.capacity, scenario.chunks);
    Exploration exploration;
    exploration.preemptions = scenario.preemptions;
    exploration.reset = [&] { world.reset(scenario.laps, scenario.lag); };
    exploration.mortal = scenario.mortal;
    exploration.judge = [&] {
        if (scenario.mortal >= 0) {
            world.reap(static_cast<std::uint32_t>(scenario.mortal));
        }
        return world.judge();
    };
    for (std::uint32_t party = 0; party < scenario.parties.size(); ++party) {
        exploration.parties.push_back([&world, &scenario, party] {
            std::uint32_t count = 0;
            for (const char verb : scenario.parties[party]) {
                switch (verb) {
                    case 'o':
                        world.offer(party, 100 * (party + 1) + ++count);
                        break;
                    case 'p':
                        world.poll(party);
                        break;
                    default:
                        world.close(party);
                        break;
                }
            }
        });
    }
    shm::seeded_bug = bug;
    Explored explored = explore(exploration);
    shm::seeded_bug = Bug::none;
    return explored;
}

void expect_good(const Scenario& scenario) {
    const Explored explored = run(scenario);
    EXPECT_TRUE(explored.problem.empty()) << explored.problem;
    EXPECT_TRUE(explored.complete || !explored.problem.empty());
    std::printf("  capacity %u, lag %u%s: %llu schedules, %llu steps\n",
                scenario.capacity,
                scenario.lag,
                scenario.mortal < 0 ? "" : ", one dies",
                static_cast<unsigned long long>(explored.schedules),
                static_cast<unsigned long long>(explored.steps));
}

void expect_caught(Scenario scenario, Bug bug) {
    const std::string without = run(scenario).problem;
    EXPECT_TRUE(without.empty()) << without;
    const Explored explored = run(scenario, bug);
    EXPECT_NE(explored.problem, "") << explored.schedules << " schedules";
    std::printf("  caught after %llu schedules\n",
                static_cast<unsigned long long>(explored.schedules));
}

TEST(RingSchedules, two_producers_and_two_consumers_on_capacity_1) {
    expect_good({.capacity = 1, .parties = {"oo", "o", "pp", "p"}});
}

TEST(RingSchedules, two_producers_and_two_consumers_on_capacity_2) {
    expect_good({.capacity = 2, .parties = {"oo", "o", "pp", "p"}});
}

TEST(RingSchedules, hints_that_lag_by_laps_are_caught_up_with) {
    expect_good({.capacity = 1, .laps = 7, .lag = 7, .parties = {"oo", "o", "p", "p"}});
    expect_good({.capacity = 2, .laps = 9, .lag = 9, .parties = {"o", "o", "pp"}});
    expect_good({.capacity = 3, .chunks = 4, .laps = 6, .lag = 5, .parties = {"ooo", "ppp"}});
}

TEST(RingSchedules, one_party_preempted_while_others_do_three_laps) {
    expect_good({.capacity = 1, .parties = {"o", "opopopop", "p"}});
    expect_good({.capacity = 2, .parties = {"o", "oopopopopp", "p"}});
}

TEST(RingSchedules, nothing_is_accepted_after_the_close_sentinel) {
    expect_good({.capacity = 1, .parties = {"oo", "c", "pp"}});
    expect_good({.capacity = 1, .parties = {"o", "opopc", "p"}});
    expect_good({.capacity = 2, .laps = 5, .lag = 5, .parties = {"o", "oc", "pp", "o"}});
    expect_good({.capacity = 1, .parties = {"c", "c", "o", "p"}});
}

TEST(RingSchedules, three_preemptions_between_one_producer_and_one_consumer) {
    expect_good({.capacity = 1, .parties = {"oo", "pp"}, .preemptions = 3});
}

TEST(RingSchedules, a_producer_that_dies_at_any_step_has_sent_or_not) {
    expect_good({.capacity = 1, .parties = {"o", "op", "p"}, .mortal = 0});
    expect_good({.capacity = 2, .parties = {"oo", "op", "pp"}, .mortal = 0});
    expect_good({.capacity = 1, .laps = 5, .lag = 5, .parties = {"o", "opop", "c"}, .mortal = 0});
}

TEST(RingSchedules, a_consumer_that_dies_at_any_step_takes_at_most_its_message) {
    expect_good({.capacity = 1, .parties = {"p", "oo", "pp"}, .mortal = 0});
    expect_good({.capacity = 2, .parties = {"pp", "oo", "op"}, .mortal = 0});
    expect_good({.capacity = 2, .laps = 9, .lag = 9, .parties = {"p", "oop", "c"}, .mortal = 0});
}

TEST(RingSchedules, a_remover_that_dies_at_any_step_has_closed_or_not) {
    expect_good({.capacity = 1, .parties = {"c", "oo", "pp"}, .mortal = 0});
}

TEST(RingSchedules, a_busy_ring_is_never_called_corrupt) {
    expect_good({.capacity = 1, .laps = 5, .lag = 5, .parties = {"p", "oo", "p"}, .mortal = 2});
    expect_good({.capacity = 1, .laps = 5, .lag = 5, .parties = {"o", "op", "p"}, .mortal = 1});
    expect_good({.capacity = 1, .laps = 3, .lag = 3, .parties = {"p", "opopopop", "p"}});
}

TEST(RingSchedules, soak_three_preemptions) {
    if (!soak()) {
        GTEST_SKIP() << "minutes long: runs with TELPHER_SOAK=1 (tools/test --soak)";
    }
    expect_good({.capacity = 1, .parties = {"oo", "o", "pp"}, .preemptions = 3});
    expect_good({.capacity = 2, .parties = {"oo", "p", "pp"}, .preemptions = 3});
    for (const int preemptions : {2, 3}) {
        Scenario busy{.capacity = 1, .laps = 5, .lag = 5, .parties = {"p", "oo", "p", "o"}};
        busy.preemptions = preemptions;
        busy.mortal = 2;
        expect_good(busy);
        busy.parties = {"o", "opo", "p"};
        busy.mortal = 1;
        expect_good(busy);
        busy.parties = {"p", "opopopop", "p"};
        busy.mortal = -1;
        expect_good(busy);
    }
}

TEST(RingSchedules, catches_a_distance_that_is_not_guarded) {
    expect_caught({.capacity = 2, .parties = {"o", "op"}}, Bug::unguarded_distance);
}

TEST(RingSchedules, catches_a_sentinel_noticed_only_at_the_tail) {
    expect_caught({.capacity = 2, .parties = {"o", "opopopopc"}}, Bug::closed_only_at_tail);
}

TEST(RingSchedules, catches_a_claim_without_generation_check) {
    expect_caught({.capacity = 2, .chunks = 2, .parties = {"p", "oopo"}}, Bug::no_generation_check);
}

TEST(RingSchedules, catches_a_head_hint_raised_before_the_claim) {
    expect_caught({.capacity = 2, .parties = {"p", "oop"}, .mortal = 0}, Bug::head_before_claim);
}

}  // namespace
}  // namespace telpher::crash
