#pragma once
// What a run found: rows of samples, one per round, and the targets they are held against.

#include "bench/e2e/rows.hpp"
#include "bench/e2e/stats.hpp"

#include <map>
#include <string>
#include <vector>

namespace telpher::bench {

struct Row {
    std::string name;
    std::string unit;
    std::vector<Sample> samples;

    [[nodiscard]] Spread p50() const;
    [[nodiscard]] double p99() const;          // median over the rounds
    [[nodiscard]] double preemptions() const;  // the same
    [[nodiscard]] Counts counts() const;       // of all rounds together
};

class Results {
  public:
    void add(Reading reading, std::uint32_t round);
    void add_failure(const std::string& benchmark, const Error& error);
    // A benchmark that cannot run here: said once, no failure.
    void add_skip(const std::string& benchmark, const std::string& why);
    // What a benchmark took altogether, rounds added.
    void add_time(const std::string& benchmark, std::uint64_t ns);
    [[nodiscard]] const Row* find(const std::string& name) const;
    [[nodiscard]] const std::vector<Row>& rows() const { return rows_; }
    [[nodiscard]] const std::vector<std::string>& failures() const { return failures_; }
    [[nodiscard]] const std::vector<std::string>& skips() const { return skips_; }
    [[nodiscard]] const std::map<std::string, double>& seconds() const { return seconds_; }

  private:
    std::vector<Row> rows_;
    std::vector<std::string> failures_;
    std::vector<std::string> skips_;
    std::map<std::string, double> seconds_;
};

enum class Figure { p50, p99 };

// "`over` divided by `under` is at most (at least) `limit`". Of several rows the fastest counts,
// round by round; without `under` the figure itself is compared.
struct Target {
    std::string text;
    std::vector<std::string> over;
    std::vector<std::string> under;
    bool at_least = false;
    double limit = 0;
    Figure figure = Figure::p50;
};
const std::vector<Target>& all_targets();

struct Verdict {
    bool measured = false;  // every row it needs was there
    bool pass = false;
    Spread value{};
};
Verdict judge(const Target& target, const Results& results);

// The spread of the floors over the rounds, (max - min) / median: differences below it mean
// nothing.
double noise_of(const Results& results);

}  // namespace telpher::bench
