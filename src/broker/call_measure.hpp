#pragma once
// Which calls are measured, and what for.
//
//   Question  reading the clock twice costs 46 ns, a twentieth of a call whose both sides are awake.
//   Answer    measured is one call in 16, at random distances, so that none of several kinds of calls that
//             take turns is left out; it counts as 16. A call behind one that was waited for asleep is
//             measured as well, as is each of the first ones of a function: these count as one. What is
//             decided depends on earlier calls only, so that the counts are those of all calls, in the long
//             run, and quantiles lean to neither side.
//   Threads   each asks for its own calls.

#include "telpher/result.hpp"

#include "shm/base/clock.hpp"
#include "shm/latency.hpp"
#include "shm/thread_context.hpp"

#include <atomic>
#include <cstdint>

namespace telpher::detail {

inline constexpr std::uint32_t kMeasureEvery = 16;
inline constexpr std::uint32_t kMeasureFirst = 256;  // of each process and function

// How many calls one stands for that was not slept behind; 0: it is not measured.
[[nodiscard]] inline std::uint32_t measure_by_chance(shm::ThreadContext& context) noexcept {
    if (context.measure_in != 0) [[likely]] {
        --context.measure_in;
        return 0;
    }
    // A linear congruential generator: as good as it need be. 0 to 30 calls are passed over, 15 on average.
    context.measure_gap = context.measure_gap * 1'664'525U + 1'013'904'223U;
    context.measure_in = (context.measure_gap >> 8U) % (2 * kMeasureEvery - 1);
    return kMeasureEvery;
}

// Whether the end of a call tells how long the function takes: an answer, or a caller whose patience ended.
// Who was refused, cancelled, or lost its server learned nothing of it.
[[nodiscard]] constexpr bool tells_latency(Status status) noexcept {
    return status == Status::ok || status == Status::handler_error || status == Status::timed_out;
}

// The calls of one function from this process.
class CallMeasure {
  public:
    // `counts`: pinned, or null: nothing is measured.
    explicit CallMeasure(shm::LatencyCounts* counts) noexcept : counts_(counts) {}

    // How many calls the next one of this thread stands for; 0: it is not measured.
    [[nodiscard]] std::uint32_t weight(shm::ThreadContext& context) noexcept {
        if (counts_ == nullptr) [[unlikely]] {
            return 0;
        }
        // relaxed, both: some more or less than the first ones
        const std::uint32_t begun = begun_.load(std::memory_order_relaxed);
        if (begun < kMeasureFirst) [[unlikely]] {
            begun_.store(begun + 1, std::memory_order_relaxed);  // relaxed: as above
            return 1;
        }
        return context.call_slept ? 1 : measure_by_chance(context);
    }
    // One that began at `began` (monotonic) and stands for `weight` has ended with `status`.
    void ended(std::uint64_t began, std::uint32_t weight, Status status) noexcept {
        if (counts_ != nullptr && tells_latency(status)) {
            shm::add_latency(*counts_, shm::monotonic_ns() - began, weight);
        }
    }
    [[nodiscard]] const shm::LatencyCounts* counts() const noexcept { return counts_; }

  private:
    shm::LatencyCounts* const counts_;
    std::atomic<std::uint32_t> begun_{0};
};

}  // namespace telpher::detail
