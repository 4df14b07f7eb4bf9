#pragma once
// One process, executed instruction by instruction, and killed after any of them.

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
    Tracer();
    ~Tracer();
    Tracer(const Tracer&) = delete;
    Tracer& operator=(const Tracer&) = delete;

    // Starts the process; returns when it is about to call `act`. False: it could not prepare.
    bool start(const TracedRole& role);
    // Executes one instruction. False when `act` has returned (or the process has ended, see `lost`).
    bool step();
    [[nodiscard]] bool lost() const { return lost_; }
    [[nodiscard]] pid_t pid() const { return child_.pid(); }
    void kill() { child_.kill(); }

  private:
    enum Phase : int { preparing, acting, done };
    // Executes one instruction or runs to the next stop. False: the process has ended.
    bool resume(int request);

    Shared<std::atomic<int>> phase_;
    Child child_;
    bool lost_ = false;
    cpu_set_t before_{};  // where the calling thread might run
};

}  // namespace telpher::crash
