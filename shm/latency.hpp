#pragma once
// A histogram of latencies: of a function, in the segment, or private.
//
//   Threads   any number at once, of any number of processes.
//   Progress  `add` lock-free: it tries again only when another made the maximum larger meanwhile.
//   Crash     killed in `add`: a maximum whose call is not counted. Nothing else can be torn.
//   Lifetime  of a function: as its rings, which each caller pins. It ends with them, and begins empty.

#include "shm/base/step.hpp"
#include "shm/latency_layout.hpp"

#include <array>

namespace telpher::shm {

// A call took `ns`, and stands for `weight` calls.
inline void add_latency(LatencyCounts& latency, std::uint64_t ns, std::uint64_t weight) noexcept {
    // relaxed, all: statistics, which nothing else is read by
    std::uint64_t max = latency.max_ns.load(std::memory_order_relaxed);
    while (ns > max) {
        SHM_STEP("latency.max");
        if (latency.max_ns.compare_exchange_weak(max,
                                                 ns,
                                                 // relaxed, both: as above
                                                 std::memory_order_relaxed,
                                                 std::memory_order_relaxed)) {
            break;
        }
    }
    SHM_STEP("latency.count");
    latency.counts[detail::latency_bucket(ns)].fetch_add(
        weight, std::memory_order_relaxed);  // relaxed: as above
}

// What was counted so far, of calls that end meanwhile some.
struct LatencySnapshot {
    std::array<std::uint64_t, detail::kLatencyBuckets> counts{};
    std::uint64_t max_ns = 0;
};
inline void read_latency(const LatencyCounts& latency, LatencySnapshot& to) noexcept {
    for (std::uint32_t i = 0; i < detail::kLatencyBuckets; ++i) {
        to.counts[i] = latency.counts[i].load(std::memory_order_relaxed);  // relaxed: statistics
    }
    to.max_ns = latency.max_ns.load(std::memory_order_relaxed);  // relaxed: as above
}

}  // namespace telpher::shm
