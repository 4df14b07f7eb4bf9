#pragma once
// How long the calls of a function took: what lies behind its rings. Part of shm/layout.hpp, with its
// contract.

#include "telpher/latency.hpp"

#include "shm/words.hpp"

namespace telpher::shm {

// All-zero = no calls. Eight buckets to each power of two, from 2^7 to 2^42 ns (telpher/latency.hpp).
struct alignas(kLinePair) LatencyCounts {
    Word max_ns;
    Word counts[detail::kLatencyBuckets];
    std::uint64_t reserved[5];
};
static_assert(sizeof(LatencyCounts) == 2304);

}  // namespace telpher::shm
