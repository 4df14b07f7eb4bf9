#pragma once
// How long a call may take: a duration, or one that follows how long the function's calls take.
//
//   client.send("pay", order, 1s);
//   client.send("pay", order, Timeout::from_quantile(0.999, 3, 5ms, 2s));  // 3 x the slowest of a thousand
//
//   Threads  a value
//   Cost     a duration: none. From a quantile: a lock that callers of one function in one process share,
//            and a map's look-up, about 0.1 us; every 100 ms the calls are counted again, about 1 us more

#include "telpher/result.hpp"
#include "telpher/retry.hpp"

#include <chrono>
#include <type_traits>

namespace telpher {

class Timeout {
  public:
    // 0.
    constexpr Timeout() = default;
    // Implicit, so that a duration stands where a Timeout is asked for.
    template <typename Rep, typename Period>
    requires std::is_convertible_v<std::chrono::duration<Rep, Period>, Duration>
    constexpr Timeout(  // NOLINT(google-explicit-constructor)
        std::chrono::duration<Rep, Period> fixed)
        : max_(fixed) {}

    // `factor` times the time within which the part `quantile` of the function's calls ended, at least `min`,
    // at most `max`. Computed when the call begins, from the latest calls: those of the last 10 to 20 s, or
    // more where fewer than 1,024 were made in that time. With fewer than 100 it is `max`.
    //
    //   which    local: of all callers in the domain, a bridge's included. Through a bridge: of this Client,
    //            as it saw them. Measured are calls that were answered, and those that timed out, which count
    //            as long as their callers waited: a function that becomes slower stretches its timeout, as
    //            long as the factor is above 1. FunctionStatus::latency shows them
    //   retries  each attempt has the timeout that the first one had
    //   errors   of the call that is given it: bad_request (quantile not above 0 or above 1, factor not above
    //            0 or above 1000, min negative or above max)
    [[nodiscard]] static constexpr Timeout from_quantile(double quantile,
                                                         double factor,
                                                         Duration min,
                                                         Duration max) noexcept {
        Timeout timeout;
        timeout.adaptive_ = true;
        timeout.quantile_ = quantile;
        timeout.factor_ = factor;
        timeout.min_ = min;
        timeout.max_ = max;
        return timeout;
    }

    // Whether it is from a quantile.
    [[nodiscard]] constexpr bool adaptive() const noexcept { return adaptive_; }
    // The duration; from a quantile: the longest.
    [[nodiscard]] constexpr Duration max() const noexcept { return max_; }
    [[nodiscard]] constexpr Duration min() const noexcept { return min_; }
    [[nodiscard]] constexpr double quantile() const noexcept { return quantile_; }
    [[nodiscard]] constexpr double factor() const noexcept { return factor_; }
    // Whether every field is in its range. Error: bad_request, naming field, limit and value. A duration is
    // checked by the call.
    [[nodiscard]] Result<void> check() const;

    constexpr bool operator==(const Timeout&) const = default;

  private:
    Duration max_{};
    Duration min_{};
    double quantile_ = 0;
    double factor_ = 0;
    bool adaptive_ = false;
};

}  // namespace telpher
