#pragma once
// The clock of the benchmarks: the processor's time stamp counter, read once per round trip or once
// per run, because CLOCK_MONOTONIC costs about twice as much; the same in every row, so ratios are
// unmoved.

#include <cstdint>
#include <ctime>

namespace telpher::bench {

inline std::uint64_t monotonic_now_ns() noexcept {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000U +
           static_cast<std::uint64_t>(now.tv_nsec);
}

inline std::uint64_t ticks() noexcept {
#if defined(__x86_64__)
    unsigned core = 0;
    return __builtin_ia32_rdtscp(
        &core);  // waits for the loads before it, as the end of a measurement must
#else
    return monotonic_now_ns();
#endif
}

inline void pause_once() noexcept {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb" ::: "memory");
#endif
}

// Measured once at the start, over 50 ms.
struct ClockRates {
    double ns_per_tick = 1.0;
    double ns_per_pause = 10.0;
};
ClockRates measure_clock_rates();

}  // namespace telpher::bench
