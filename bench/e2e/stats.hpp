#pragma once
// Order statistics of a few dozen values.

#include "bench/e2e/board.hpp"

#include <algorithm>
#include <numeric>
#include <vector>

namespace telpher::bench {

struct Spread {
    double median = 0;
    double min = 0;
    double max = 0;
};

// 0 for no values; between two neighbours, their mean in proportion.
inline double quantile(std::vector<double> values, double share) {
    if (values.empty()) {
        return 0;
    }
    std::sort(values.begin(), values.end());
    const double place = share * static_cast<double>(values.size() - 1);
    const auto below = static_cast<std::size_t>(place);
    const std::size_t above = std::min(below + 1, values.size() - 1);
    return values[below] + (values[above] - values[below]) * (place - static_cast<double>(below));
}

inline Spread spread_of(const std::vector<double>& values) {
    return {quantile(values, 0.5), quantile(values, 0.0), quantile(values, 1.0)};
}

inline Sample sample_of(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    const double sum = std::accumulate(values.begin(), values.end(), 0.0);
    Sample sample;
    sample.p50 = quantile(values, 0.5);
    sample.p99 = quantile(values, 0.99);
    sample.mean = values.empty() ? 0 : sum / static_cast<double>(values.size());
    sample.max = quantile(values, 1.0);
    for (const double value : values) {
        sample.counts.emplace_back(value, 1);
    }
    return sample;
}

inline std::vector<double> values_of(const Board& board) {
    return {board.values, board.values + board.value_count};
}

}  // namespace telpher::bench
