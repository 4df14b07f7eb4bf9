#include "bench/e2e/results.hpp"

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

const Row* Results::find(const std::string& name) const {
    for (const Row& row : rows_) {
        if (row.name == name) {
            return &row;
        }
    }
    return nullptr;
}

const std::vector<Target>& core_targets() {
    static const std::vector<std::string> kSpscOneWay = {"spsc_oneway", "spsc_oneway_paced"};
    static const std::vector<std::string> kMqOneWay = {"boost_mq_oneway", "boost_mq_oneway_try"};
    static const std::vector<Target> targets = {
        {"ping-pong / two lines", {"telpher_ping_pong"}, {"two_lines"}, false, 2.2},
        {"ping-pong / spsc of 128 B", {"telpher_ping_pong"}, {"spsc_128"}, false, 1.1},
        {"boost mq / ping-pong", {"boost_mq"}, {"telpher_ping_pong"}, true, 4.0},
        {"one way, faster spsc / telpher", kSpscOneWay, {"telpher_oneway"}, true, 1.3},
        {"one way, faster boost mq / telpher", kMqOneWay, {"telpher_oneway"}, true, 15.0},
        {"loan 64 B / two lines", {"loan_64"}, {"two_lines"}, false, 2.2},
        {"loan 1 KiB / two lines", {"loan_1k"}, {"two_lines"}, false, 2.2},
        {"loan 4 KiB / two lines", {"loan_4k"}, {"two_lines"}, false, 2.2},
        {"loan 16 KiB / two lines", {"loan_16k"}, {"two_lines"}, false, 2.2},
        {"loan 64 KiB / two lines", {"loan_64k"}, {"two_lines"}, false, 2.2},
        {"idle blocked process, % CPU", {"idle_cpu"}, {}, false, 0.005},
        {"attach, us", {"attach"}, {}, false, 1000},
        {"create queue, us", {"create_queue"}, {}, false, 100},
        {"stall after a kill, p50, us", {"stall_kill"}, {}, false, 1000},
        {"stall after a kill, p99, us", {"stall_kill"}, {}, false, 10'000, Figure::p99},
        {"default domain, KiB of /dev/shm", {"memory_domain"}, {}, false, 48 * 1024},
        {"queue of 1024, KiB", {"memory_queue"}, {}, false, 64},
        {"RssAnon of an attached process, KiB", {"memory_process"}, {}, false, 8 * 1024},
    };
    return targets;
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
