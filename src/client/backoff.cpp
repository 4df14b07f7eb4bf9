#include "src/client/backoff.hpp"

#include <algorithm>

namespace telpher::detail {
namespace {

constexpr std::uint64_t kDecorrelated = 3;

std::uint64_t ns(Duration time) noexcept { return static_cast<std::uint64_t>(time.count()); }

// `wait` * `factor`, at most `most`. The comparison is of doubles, so that nothing overflows.
std::uint64_t scaled(std::uint64_t wait, double factor, std::uint64_t most) noexcept {
    const double product = static_cast<double>(wait) * factor;
    return product < static_cast<double>(most) ? static_cast<std::uint64_t>(product) : most;
}

}  // namespace

std::uint64_t uniform(std::uint64_t low, std::uint64_t high, std::uint64_t random) noexcept {
    // The high half of random * count: no modulo, whose remainder would favour small numbers.
    __extension__ using Wide = unsigned __int128;
    const Wide count = Wide{high - low} + 1;
    return low + static_cast<std::uint64_t>((count * random) >> 64U);
}

Backoff::Backoff(const RetryPolicy& policy) noexcept
    : base_ns_(ns(policy.base)),
      cap_ns_(ns(policy.cap)),
      factor_(policy.factor),
      range_low_(policy.range_low),
      range_high_(policy.range_high),
      jitter_(policy.jitter),
      wait_ns_(base_ns_) {}

Backoff::Backoff(Duration base, Duration cap) noexcept
    : base_ns_(ns(base)), cap_ns_(ns(cap)), wait_ns_(base_ns_) {}

void Backoff::reset() noexcept { wait_ns_ = base_ns_; }

Duration Backoff::next(std::uint64_t random) noexcept {
    std::uint64_t chosen = 0;
    if (jitter_ == Jitter::decorrelated) {
        // wait_ns_ <= cap_ns_ <= 24 h: three times as much does not overflow.
        chosen = std::min(cap_ns_, uniform(base_ns_, kDecorrelated * wait_ns_, random));
        wait_ns_ = chosen;
        return Duration(static_cast<std::int64_t>(chosen));
    }
    const std::uint64_t wait = wait_ns_;
    wait_ns_ = scaled(wait, factor_, cap_ns_);
    switch (jitter_) {
        case Jitter::none:
        case Jitter::decorrelated:
            chosen = wait;
            break;
        case Jitter::full:
            chosen = uniform(0, wait, random);
            break;
        case Jitter::equal:
            chosen = uniform(wait / 2, wait, random);
            break;
        case Jitter::range: {
            // 100 x 24 h is below 2^53 ns: the bounds are exact, and cut to the cap afterwards, so that the
            // shape below it stays.
            constexpr std::uint64_t kMost = std::uint64_t{1} << 53U;
            const std::uint64_t low = scaled(wait, range_low_, kMost);
            const std::uint64_t high = std::max(low, scaled(wait, range_high_, kMost));
            chosen = std::min(cap_ns_, uniform(low, high, random));
            break;
        }
    }
    return Duration(static_cast<std::int64_t>(chosen));
}

}  // namespace telpher::detail
