#pragma once
// Clocks. Durations are measured on the monotonic clock only; wall time only stamps and expires
// messages.

#include <cstdint>
#include <ctime>

namespace telpher::shm {

inline std::uint64_t read_clock(clockid_t clock) noexcept {
    timespec now{};
    clock_gettime(clock, &now);
    return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000U +
           static_cast<std::uint64_t>(now.tv_nsec);
}
// What the calling thread has run: it stands still while others have the processor. A system call.
inline std::uint64_t thread_cpu_ns() noexcept { return read_clock(CLOCK_THREAD_CPUTIME_ID); }
inline std::uint64_t monotonic_ns() noexcept { return read_clock(CLOCK_MONOTONIC); }
// The same clock as it was at the last kernel tick (1 to 4 ms ago), at a tenth of the cost.
inline std::uint64_t monotonic_coarse_ns() noexcept { return read_clock(CLOCK_MONOTONIC_COARSE); }
// Resolution of a kernel tick (1 to 4 ms) at a tenth of the cost: stamps every message.
inline std::uint64_t wall_coarse_ns() noexcept { return read_clock(CLOCK_REALTIME_COARSE); }

}  // namespace telpher::shm
