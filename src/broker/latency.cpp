// Latencies as values, and what a timeout from a quantile may say.

#include "telpher/latency.hpp"

#include "telpher/timeout.hpp"

#include "src/wire/option_text.hpp"

#include <algorithm>
#include <cmath>
#include <string>

namespace telpher {
namespace {

constexpr double kFactorMax = 1000;

Error wrong(const std::string& field, const std::string& value, const std::string& allowed) {
    Error error = wire::option_out_of_range("timeout." + field, value, allowed);
    error.effect = Outcome::did_not_happen;
    return error;
}

}  // namespace

Latency Latency::of(std::span<const std::uint64_t> counts, Duration max) {
    Latency latency;
    std::size_t used = std::min<std::size_t>(counts.size(), detail::kLatencyBuckets);
    while (used > 0 && counts[used - 1] == 0) {
        --used;
    }
    if (used == 0) {
        return latency;
    }
    latency.counts_.assign(counts.begin(), counts.begin() + static_cast<std::ptrdiff_t>(used));
    for (const std::uint64_t count : latency.counts_) {
        latency.count_ += count;
    }
    // A part of a histogram has no maximum of its own: what is longer than its last bucket is not its.
    const auto longest =
        used == detail::kLatencyBuckets
            ? max
            : Duration(static_cast<std::int64_t>(
                  detail::latency_bucket_low(static_cast<std::uint32_t>(used)) - 1));
    latency.max_ = std::max(std::min(max, longest), Duration{});
    return latency;
}

Duration Latency::quantile(double q) const noexcept {
    if (count_ == 0) {
        return {};
    }
    // The rank-th of all, counted from 1. Nothing is below 0, and NaN is.
    const double rank = q > 0 ? std::ceil(std::min(q, 1.0) * static_cast<double>(count_)) : 1;
    std::uint64_t left = rank >= static_cast<double>(count_)
                             ? count_
                             : std::max<std::uint64_t>(static_cast<std::uint64_t>(rank), 1);
    for (std::uint32_t i = 0; i < counts_.size(); ++i) {
        if (left <= counts_[i]) {
            const auto most = static_cast<std::int64_t>(detail::latency_bucket_low(i + 1) - 1);
            return i == detail::kLatencyBuckets - 1 ? max_ : std::min(max_, Duration(most));
        }
        left -= counts_[i];
    }
    return max_;
}

// NaN is in no range.
Result<void> Timeout::check() const {
    if (!adaptive_) {
        return {};
    }
    if (!(quantile_ > 0 && quantile_ <= 1)) {
        return wrong("quantile", wire::number_text(quantile_), "above 0 to 1");
    }
    if (!(factor_ > 0 && factor_ <= kFactorMax)) {
        return wrong(
            "factor", wire::number_text(factor_), "above 0 to " + wire::number_text(kFactorMax));
    }
    if (max_.count() < 0) {
        return wrong("max", std::to_string(max_.count()) + " ns", "0 and more");
    }
    if (min_.count() < 0 || min_ > max_) {
        return wrong("min",
                     std::to_string(min_.count()) + " ns",
                     "0.." + std::to_string(max_.count()) + " ns (max)");
    }
    return {};
}

}  // namespace telpher
