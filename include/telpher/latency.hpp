#pragma once
// How long calls took: counts in buckets that grow with the time, eight to each power of two, so that a
// quantile is at most 12.5 % above the exact one. From 128 ns to 73 minutes.
//
//   FunctionStatus status = client.function_status("pay").value();
//   Duration slow = status.latency.quantile(0.999);

#include "telpher/retry.hpp"

#include <bit>
#include <cstdint>
#include <span>
#include <vector>

namespace telpher {

namespace detail {

inline constexpr std::uint32_t kLatencyLeastBits = 7;  // below 2^7 ns: the first bucket
inline constexpr std::uint32_t kLatencyMostBits = 42;  // from 2^42 ns on: the last bucket
inline constexpr std::uint32_t kLatencyPartBits = 3;   // 2^3 buckets to each power of two
inline constexpr std::uint32_t kLatencyBuckets =
    2 + ((kLatencyMostBits - kLatencyLeastBits) << kLatencyPartBits);

// The bucket of a call that took `ns`.
constexpr std::uint32_t latency_bucket(std::uint64_t ns) noexcept {
    const auto bits = static_cast<std::uint32_t>(std::bit_width(ns));
    if (bits <= kLatencyLeastBits) {
        return 0;
    }
    if (bits > kLatencyMostBits) {
        return kLatencyBuckets - 1;
    }
    const std::uint32_t power = bits - 1;  // 2^power <= ns
    const auto part = static_cast<std::uint32_t>(ns >> (power - kLatencyPartBits)) &
                      ((1U << kLatencyPartBits) - 1);
    return 1 + ((power - kLatencyLeastBits) << kLatencyPartBits) + part;
}

// The shortest time of a bucket; of kLatencyBuckets: where the next one would begin.
constexpr std::uint64_t latency_bucket_low(std::uint32_t bucket) noexcept {
    if (bucket == 0) {
        return 0;
    }
    const std::uint32_t power = kLatencyLeastBits + ((bucket - 1) >> kLatencyPartBits);
    const std::uint64_t part = (bucket - 1) & ((1U << kLatencyPartBits) - 1);
    return (std::uint64_t{1} << power) + (part << (power - kLatencyPartBits));
}

}  // namespace detail

// A value, copied from a histogram.
//
//   Threads  as any value
//   Cost     256 to 2,300 bytes of memory if it is not empty; a quantile adds the counts up
class Latency {
  public:
    Latency() = default;
    // Of counts by bucket (detail::latency_bucket); what is beyond the last one is not looked at.
    static Latency of(std::span<const std::uint64_t> counts, Duration max);

    // How many calls it stands for.
    [[nodiscard]] std::uint64_t count() const noexcept { return count_; }
    // The longest one; exact.
    [[nodiscard]] Duration max() const noexcept { return max_; }
    // The time within which the part `q` of all calls was answered: the longest time of the bucket in which
    // that call lies, at most `max`. Below 0 as 0, above 1 as 1. 0 without calls.
    [[nodiscard]] Duration quantile(double q) const noexcept;
    [[nodiscard]] Duration p50() const noexcept { return quantile(0.5); }
    [[nodiscard]] Duration p99() const noexcept { return quantile(0.99); }
    [[nodiscard]] Duration p999() const noexcept { return quantile(0.999); }

    // By bucket, up to the last one that is not 0.
    [[nodiscard]] std::span<const std::uint64_t> counts() const noexcept { return counts_; }

  private:
    std::vector<std::uint64_t> counts_{};
    std::uint64_t count_ = 0;
    Duration max_{};
};

}  // namespace telpher
