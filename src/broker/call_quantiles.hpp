#pragma once
// The timeouts that follow a function's latencies.
//
//   Window    quantiles are of the latest calls: those since a snapshot that is replaced every 10 s, or after
//             65,536 calls, by one as old; not before there were 1,024.
//   Cost      a lock and a look; every 100 ms the histogram is read.
//   Threads   any number at once.

#include "telpher/latency.hpp"
#include "telpher/timeout.hpp"

#include "shm/latency.hpp"

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>

namespace telpher::detail {

inline constexpr std::uint64_t kQuantilesRefreshNs = 100'000'000;
inline constexpr std::uint64_t kQuantilesTurnNs = 10'000'000'000;
inline constexpr std::uint64_t kQuantilesTurnCalls = 65'536;
inline constexpr std::uint64_t kQuantilesTurnLeast = 1'024;
inline constexpr std::uint64_t kQuantilesCallsMin = 100;  // below: a timeout is its maximum

class CallQuantiles {
  public:
    // What `timeout`, which was checked, comes to at `now_ns` (monotonic). `counts`: null: it is the maximum.
    [[nodiscard]] Duration resolve(const Timeout& timeout,
                                   const shm::LatencyCounts* counts,
                                   std::uint64_t now_ns);

  private:
    struct Known {
        double q = 0;  // 0: none
        Duration value{};
    };
    struct State {
        void refresh(const shm::LatencyCounts& counts, std::uint64_t now_ns);
        [[nodiscard]] Duration quantile(double q);
        shm::LatencySnapshot older{};
        shm::LatencySnapshot newer{};
        Latency window{};  // the calls since `older`
        std::uint64_t refreshed_ns = 0;
        std::uint64_t turned_ns = 0;
        std::array<Known, 4> known{};  // of the window
        std::size_t next = 0;
    };
    std::mutex mutex_;              // guards the next one, and what it holds
    std::unique_ptr<State> state_;  // 5 KB, for those who ask
};

}  // namespace telpher::detail
