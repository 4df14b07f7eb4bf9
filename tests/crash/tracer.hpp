#pragma once
// One process, executed up to any single instruction, and killed there.
//
//   Step   instruction by instruction (ptrace): exact, 15 to 50 us for each.
//   Jump   a hardware breakpoint at the place where that many steps led the recorded run, as often
//          as that run came by: a few system calls. Where the process takes another way than the
//          recorded one, `jump` says so, and the caller steps.

#include "tests/crash/harness.hpp"

#include <sched.h>

#include <atomic>
#include <functional>

namespace telpher::crash {

// What a traced process does: `prepare` in full speed, then `act` under the tracer's eyes.
struct TracedRole {
    std::function<bool()> prepare;  // false: the test cannot go on
    std::function<void()> act;
};

class Tracer {
  public:
    enum class Stop { there, finished, lost };  // finished: `act` has returned

    explicit Tracer(TracedRole role);
    ~Tracer();
    Tracer(const Tracer&) = delete;
    Tracer& operator=(const Tracer&) = delete;

    // Starts the process; returns when it is about to call `act`. False: it could not prepare.
    [[nodiscard]] bool start();
    // Executes `count` instructions.
    [[nodiscard]] Stop step(std::uint32_t count);
    // Executes all of `act` and remembers the way. The number of instructions, 0 when the process
    // was lost.
    [[nodiscard]] std::uint32_t record();
    // Executes the first `count` instructions of the recorded way. finished also when it was not
    // met.
    [[nodiscard]] Stop jump(std::uint32_t count);
    void kill() { child_.kill(); }

  private:
    enum Phase : int { preparing, acting, done };
    struct Place {
        std::uint64_t address;
        std::uint32_t visit;  // the how many-th time: 1, 2, ...
    };
    // Lets it run to its next stop. False: it has ended.
    [[nodiscard]] bool resume(int request);
    [[nodiscard]] bool set_breakpoint(std::uint64_t address) const;
    [[nodiscard]] std::uint64_t address() const;
    [[nodiscard]] bool leave_preparing();
    [[nodiscard]] int phase() const;

    TracedRole role_;
    Shared<std::atomic<int>> phase_;
    Child child_;
    std::vector<Place> way_;
    cpu_set_t before_{};  // where the calling thread might run
};

}  // namespace telpher::crash
