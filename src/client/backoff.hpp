#pragma once
// The waits between attempts: exponential, capped, with jitter. Integers in nanoseconds but for the one
// multiplication, which is exact while a wait is below 2^53 ns (104 days; the cap is 24 h at most).
//
//   Threads   one at a time.

#include "telpher/retry.hpp"

#include <cstdint>

namespace telpher::detail {

// Uniform in low..high, both included, from 64 uniform bits.
[[nodiscard]] std::uint64_t uniform(std::uint64_t low,
                                    std::uint64_t high,
                                    std::uint64_t random) noexcept;

class Backoff {
  public:
    // Of a policy that was checked.
    explicit Backoff(const RetryPolicy& policy) noexcept;
    // Fixed fields, for those who are no RetryPolicy's: full jitter, factor 2. 0 < base <= cap <= 24 h.
    Backoff(Duration base, Duration cap) noexcept;
    // How long to wait before the next attempt.
    [[nodiscard]] Duration next(std::uint64_t random) noexcept;
    // The next wait is the first again.
    void reset() noexcept;

  private:
    std::uint64_t base_ns_;
    std::uint64_t cap_ns_;
    double factor_ = 2;
    double range_low_ = 1;
    double range_high_ = 1;
    Jitter jitter_ = Jitter::full;
    std::uint64_t wait_ns_;  // the next one without jitter; decorrelated: the one before
};

}  // namespace telpher::detail
