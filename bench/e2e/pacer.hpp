#pragma once
// How a yardstick's loops wait: at once again, or so that the other side can run ahead.

#include "bench/e2e/harness.hpp"

#include <algorithm>

namespace telpher::bench {

// One pause per futile look.
class NaivePace {
  public:
    explicit NaivePace(const Context& context) : context_(context) {}
    void full() noexcept { context_.relax(); }
    void empty() noexcept { context_.relax(); }
    void took() noexcept {}

  private:
    const Context& context_;
};

// A consumer that found little waits longer, up to 1.7 us, until a look finds 64 messages or more;
// one that found a single message (a ping-pong) does not wait. A producer that found no room waits
// 2 us.
class CourteousPace {
  public:
    explicit CourteousPace(const Context& context)
        : context_(context),
          longest_(std::max(1, static_cast<int>(1'700.0 / context.clock.ns_per_pause))),
          full_(std::max(1, static_cast<int>(2'000.0 / context.clock.ns_per_pause))) {}

    void full() noexcept { wait(full_); }
    void empty() noexcept {
        if (run_ == 1) {
            pauses_ = 1;
        } else if (run_ > 1 && run_ < 64) {
            pauses_ = std::min(2 * pauses_, longest_);
        }
        run_ = 0;
        wait(pauses_);
    }
    void took() noexcept { ++run_; }

  private:
    void wait(int pauses) const noexcept {
        for (int i = 0; i < pauses; ++i) {
            context_.relax();
        }
    }

    const Context& context_;
    int longest_;
    int full_;
    int pauses_ = 1;
    std::uint64_t run_ = 0;  // messages since the last futile look
};

}  // namespace telpher::bench
