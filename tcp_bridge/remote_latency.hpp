#pragma once
// How long the calls of a remote client took, as it saw them: private, by the code of the domain's.
//
//   Threads   any number at once.
//   Bounds    kLatencyNamesMax functions; calls of more are not measured, and a timeout from a quantile is
//             their maximum.

#include "shm/base/clock.hpp"
#include "src/broker/call_measure.hpp"
#include "src/broker/call_quantiles.hpp"

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

namespace telpher::bridge {

inline constexpr std::size_t kLatencyNamesMax = 512;

// Of one function.
struct RemoteLatency {
    shm::LatencyCounts counts{};
    detail::CallMeasure measure{&counts};
    detail::CallQuantiles quantiles{};
};

class RemoteLatencies {
  public:
    // Made at the first call; null: there are too many.
    [[nodiscard]] std::shared_ptr<RemoteLatency> of(std::string_view function) {
        const std::lock_guard hold(mutex_);
        if (const auto known = names_.find(function); known != names_.end()) {
            return known->second;
        }
        if (names_.size() >= kLatencyNamesMax) {
            return nullptr;
        }
        return names_.emplace(function, std::make_shared<RemoteLatency>()).first->second;
    }
    [[nodiscard]] Duration resolve(std::string_view function, const Timeout& timeout) {
        const auto latency = of(function);
        return latency == nullptr ? timeout.max()
                                  : latency->quantiles.resolve(
                                        timeout, &latency->counts, shm::monotonic_coarse_ns());
    }

  private:
    std::mutex mutex_;  // guards the next one
    std::map<std::string, std::shared_ptr<RemoteLatency>, std::less<>> names_;
};

}  // namespace telpher::bridge
