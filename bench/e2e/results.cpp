#include "bench/e2e/results.hpp"

#include <algorithm>
#include <utility>

namespace telpher::bench {

namespace {

std::vector<double> figures_of(const Row& row, Figure figure) {
    std::vector<double> values;
    for (const Sample& sample : row.samples) {
        values.push_back(figure == Figure::p50 ? sample.p50 : sample.p99);
    }
    return values;
}

// Of each round in which all of the named rows were measured, the smallest figure; empty if a row is missing.
std::map<std::uint32_t, double> fastest(const std::vector<std::string>& names,
                                        Figure figure,
                                        const Results& results) {
    std::map<std::uint32_t, double> best;
    for (const std::string& name : names) {
        const Row* row = results.find(name);
        if (row == nullptr) {
            return {};
        }
        std::map<std::uint32_t, double> both;
        for (const Sample& sample : row->samples) {
            const double value = figure == Figure::p50 ? sample.p50 : sample.p99;
            const auto known = best.find(sample.round);
            if (name == names.front()) {
                both[sample.round] = value;
            } else if (known != best.end()) {
                both[sample.round] = std::min(known->second, value);
            }
        }
        best = std::move(both);
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

void Results::add(Reading reading, std::uint32_t round) {
    reading.sample.round = round;
    for (Row& row : rows_) {
        if (row.name == reading.row) {
            row.samples.push_back(std::move(reading.sample));
            return;
        }
    }
    rows_.push_back({reading.row, reading.unit, {std::move(reading.sample)}});
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
    const auto over = fastest(target.over, target.figure, results);
    const auto under = fastest(target.under, target.figure, results);
    std::vector<double> values;
    for (const auto& [round, value] : over) {
        if (target.under.empty()) {
            values.push_back(value);
        } else if (const auto below = under.find(round); below != under.end()) {
            values.push_back(value / below->second);
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
