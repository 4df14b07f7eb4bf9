#pragma once
// Every schedule of a few parties, in one thread: each party is a fiber, and at every SHM_STEP the
// explorer decides who goes on.
//
//   Search     depth first over all schedules with at most `preemptions` switches away from a party
//              that could go on. Who runs next after a party has ended is free: all orders are
//              tried.
//   Finds      everything that needs few switches (most bugs), sequentially consistent memory only;
//              memory orders are the business of ThreadSanitizer.
//   Bodies     must not sleep or wait for each other: an unfair schedule would never end. A
//              schedule of more than kStepsMax steps is reported as a wedge.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace telpher::crash {

struct Exploration {
    std::vector<std::function<void()>> parties;  // one fiber each
    std::function<void()> reset;                 // before each schedule
    std::function<std::string()> judge;  // after each schedule: empty = good, else what is wrong
    int preemptions = 2;
    int mortal = -1;  // this party also dies, once, at each of its steps; -1 = nobody
    std::uint64_t schedules_max = ~0ULL;
};

struct Explored {
    std::uint64_t schedules = 0;
    std::uint64_t steps = 0;
    bool complete = false;  // every schedule within the bound was tried
    std::string problem;    // of the first bad schedule, with its interleaving; empty = none
};

// Runs the exploration. One at a time in a process (it owns `shm::step_hook`).
Explored explore(const Exploration& exploration);

// A clock that every step advances: for histories.
std::uint64_t steps_so_far();

}  // namespace telpher::crash
