#pragma once
// A process that kills or stops itself at its n-th SHM_STEP.
//
//   Counted   are the steps of the thread that runs `act`, or of the one that the role names; not
//             those of others, as the janitor.
//   Library   built with TELPHER_STEPS.

#include "shm/base/bug.hpp"
#include "tests/crash/harness.hpp"

#include <atomic>
#include <functional>
#include <string>

namespace telpher::crash {

// What a victim does: `prepare` unharmed, then `act`.
struct VictimRole {
    std::function<bool()> prepare{};  // false: the test cannot go on
    std::function<void()> act{};
    // The thread of that name suffers instead, from when `act` begins; started by `prepare`.
    const char* thread = nullptr;
};

// Attaches to `domain`, and reaps whoever is dead there; never leaves it.
[[nodiscard]] inline VictimRole reaping(const ScratchDomain& domain) {
    return {.prepare = {}, .act = [&domain] {
                auto* server = new Server(domain.open());
                static_cast<void>(server->processes());
            }};
}

class StepVictim {
  public:
    enum class Fate { killed, stopped };
    enum class End { met_fate, finished, failed };  // finished: `act` has fewer steps

    // Runs `role` in a process of its own until its n-th step (1, 2, ...), until the end of `act`,
    // or
    // (`name` given) until its n-th step of that name.
    End run(const VictimRole& role, Fate fate, std::uint32_t n, const char* name = nullptr);
    // Kills it at every step in turn: `before` each, `after` each (with n, and whether `act` was
    // finished). Returns the number of steps. Stops when a test has failed.
    std::uint32_t kill_at_every_step(const char* what,
                                     const std::function<void()>& before,
                                     const VictimRole& role,
                                     const std::function<void(bool finished)>& after);

    [[nodiscard]] Child& child() { return child_; }
    // Where it met its fate, for people.
    [[nodiscard]] std::string where() const;
    // After a stop: lets it go on, and waits for the end of `act`. False: it did not end well in
    // time.
    [[nodiscard]] bool let_finish(std::chrono::milliseconds patience);
    // In the process that calls it, from now on: a deliberate mistake.
    static void seed_bug(shm::Bug bug);

  private:
    struct Log {
        std::atomic<const char*> at{nullptr};  // a literal: the same address in parent and child
        std::atomic<std::uint32_t> steps{0};
        std::atomic<bool> prepared{false};
        std::atomic<bool> finished{false};
    };
    Shared<Log> log_;
    Child child_;
};

}  // namespace telpher::crash
