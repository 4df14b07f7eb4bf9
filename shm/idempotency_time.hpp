#pragma once
// How long an outcome is remembered: counted from the outcome, not from the beginning of its request.

#include "shm/base/clock.hpp"
#include "shm/idempotency_layout.hpp"

namespace telpher::shm {

// Until the outcome stands, `expires` holds this bit and for how long it will.
inline constexpr std::uint64_t kNotYet = 1ULL << 63U;

// Whoever says the outcome first; of several reapers one. Killed behind it: the next one finds it done.
inline void settle_time(IdempotencyRecord& record) noexcept {
    // relaxed, both: published by the record's word, which follows
    std::uint64_t seen = record.expires.load(std::memory_order_relaxed);
    if ((seen & kNotYet) != 0) {
        record.expires.compare_exchange_strong(seen,
                                               monotonic_coarse_ns() + (seen & ~kNotYet),
                                               std::memory_order_relaxed);  // relaxed: as above
    }
}

}  // namespace telpher::shm
