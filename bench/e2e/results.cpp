#include "bench/e2e/results.hpp"

#include <algorithm>

namespace telpher::bench {

namespace {

std::vector<double> figures_of(const Row& row, Figure figure) {
    std::vector<double> values;
    for (const Sample& sample : row.samples) {
        values.push_back(figure == Figure::p50 ? sample.p50 : sample.p99);
    }
    return values;
}

// Round by round, the smallest figure of the named rows; empty if one is missing.
std::vector<double> fastest(const std::vector<std::string>& names,
                            Figure figure,
                            const Results& results) {
    std::vector<double> best;
    for (const std::string& name : names) {
        const Row* row = results.find(name);
        if (row == nullptr) {
            return {};
        }
        const std::vector<double> values = figures_of(*row, figure);
        if (best.empty()) {
            best = values;
        }
        best.resize(std::min(best.size(), values.size()));
        for (std::size_t i = 0; i < best.size(); ++i) {
            best[i] = std::min(best[i], values[i]);
        }
    }
    return best;
}

}  // namespace

Spread Row::p50() const { return spread_of(figures_of(*this, Figure::p50)); }

double Row::preemptions() const {
    std::vector<double> values;
    for (const Sample& sample : samples) {
        values.push_back(sample.preemptions);
    }
    return spread_of(values).median;
}

double Row::p99() const { return spread_of(figures_of(*this, Figure::p99)).median; }

Counts Row::counts() const {
    std::map<double, std::uint64_t> all;
    for (const Sample& sample : samples) {
        for (const auto& [value, count] : sample.counts) {
            all[value] += count;
        }
    }
    return {all.begin(), all.end()};
}

void Results::add_time(const std::string& benchmark, std::uint64_t ns) {
    seconds_[benchmark] += static_cast<double>(ns) / 1e9;
}

void Results::add(const Reading& reading) {
    for (Row& row : rows_) {
        if (row.name == reading.row) {
            row.samples.push_back(reading.sample);
            return;
        }
    }
    rows_.push_back({reading.row, reading.unit, {reading.sample}});
}

void Results::add_failure(const std::string& benchmark, const Error& error) {
    failures_.push_back(benchmark + ": " + to_string(error));
}

void Results::add_skip(const std::string& benchmark, const std::string& why) {
    const std::string text = benchmark + ": " + why;
    if (std::find(skips_.begin(), skips_.end(), text) == skips_.end()) {
        skips_.push_back(text);
    }
}

const Row* Results::find(const std::string& name) const {
    for (const Row& row : rows_) {
        if (row.name == name) {
            return &row;
        }
    }
    return nullptr;
}

Verdict judge(const Target& target, const Results& results) {
    std::vector<double> values = fastest(target.over, target.figure, results);
    if (!target.under.empty()) {
        const std::vector<double> under = fastest(target.under, target.figure, results);
        values.resize(std::min(values.size(), under.size()));
        for (std::size_t i = 0; i < values.size(); ++i) {
            values[i] /= under[i];
        }
    }
    if (values.empty()) {
        return {};
    }
    const Spread value = spread_of(values);
    return {
        true, target.at_least ? value.median >= target.limit : value.median <= target.limit, value};
}

double noise_of(const Results& results) {
    double noise = 0;
    for (const char* floor : {"line", "two_lines"}) {
        if (const Row* row = results.find(floor); row != nullptr) {
            const Spread spread = row->p50();
            noise = std::max(noise, (spread.max - spread.min) / spread.median);
        }
    }
    return noise;
}

}  // namespace telpher::bench
