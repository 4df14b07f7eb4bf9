#include "src/broker/call_quantiles.hpp"

#include <algorithm>

namespace telpher::detail {
namespace {

// Of a damaged histogram it may have become less: then nothing.
Latency between(const shm::LatencySnapshot& from, const shm::LatencySnapshot& to) {
    std::array<std::uint64_t, kLatencyBuckets> counts{};
    for (std::uint32_t i = 0; i < kLatencyBuckets; ++i) {
        counts[i] = to.counts[i] - std::min(from.counts[i], to.counts[i]);
    }
    return Latency::of(counts, Duration(static_cast<std::int64_t>(to.max_ns & ~(1ULL << 63))));
}

}  // namespace

Duration CallQuantiles::resolve(const Timeout& timeout,
                                const shm::LatencyCounts* counts,
                                std::uint64_t now_ns) {
    if (counts == nullptr) {
        return timeout.max();
    }
    const std::lock_guard hold(mutex_);
    if (state_ == nullptr) {
        state_ = std::make_unique<State>();
        state_->turned_ns = now_ns;
        state_->refresh(*counts, now_ns);
    } else if (now_ns - state_->refreshed_ns >= kQuantilesRefreshNs) {
        state_->refresh(*counts, now_ns);
    }
    if (state_->window.count() < kQuantilesCallsMin) {
        return timeout.max();
    }
    const double ns =
        static_cast<double>(state_->quantile(timeout.quantile()).count()) * timeout.factor();
    if (ns >= static_cast<double>(timeout.max().count())) {
        return timeout.max();
    }
    return std::max(timeout.min(), Duration(static_cast<std::int64_t>(ns)));
}

void CallQuantiles::State::refresh(const shm::LatencyCounts& counts, std::uint64_t now_ns) {
    shm::LatencySnapshot now;
    shm::read_latency(counts, now);
    const std::uint64_t since = between(newer, now).count();
    if (since >= kQuantilesTurnCalls ||
        (since >= kQuantilesTurnLeast && now_ns - turned_ns >= kQuantilesTurnNs)) {
        older = newer;
        newer = now;
        turned_ns = now_ns;
    }
    window = between(older, now);
    known = {};
    refreshed_ns = now_ns;
}

Duration CallQuantiles::State::quantile(double q) {
    for (const Known& one : known) {
        if (one.q == q) {
            return one.value;
        }
    }
    const Duration value = window.quantile(q);
    known[next] = {q, value};
    next = (next + 1) % known.size();
    return value;
}

}  // namespace telpher::detail
