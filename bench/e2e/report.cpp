#include "bench/e2e/report.hpp"

#include "bench/e2e/pictures.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace telpher::bench {

namespace {

constexpr double kBarWidth = 36;

void print_rows(const Results& results) {
    std::printf("\n%-24s %5s %10s %10s %10s %10s %6s %9s\n",
                "row",
                "unit",
                "p50",
                "min",
                "max",
                "p99",
                "rounds",
                "preempted");
    for (const Row& row : results.rows()) {
        const Spread p50 = row.p50();
        std::printf("%-24s %5s %10.4g %10.4g %10.4g %10.4g %6zu %9.3g",
                    row.name.c_str(),
                    row.unit.c_str(),
                    p50.median,
                    p50.min,
                    p50.max,
                    row.p99(),
                    row.samples.size(),
                    row.preemptions());
        if (row.name.find("oneway") != std::string::npos) {
            std::printf("   %.2f M msg/s", 1000.0 / p50.median);
        }
        std::printf("\n");
    }
}

void print_targets(const Results& results) {
    std::printf("\n%-50s %9s %9s %9s %9s\n", "target", "wanted", "median", "min", "max");
    for (const Target& target : all_targets()) {
        const Verdict verdict = judge(target, results);
        if (!verdict.measured) {
            continue;  // not asked for, or no room or library for it
        }
        std::printf(
            "%-50s %2s %6.6g", target.text.c_str(), target.at_least ? ">=" : "<=", target.limit);
        std::printf(" %9.4g %9.4g %9.4g  %s\n",
                    verdict.value.median,
                    verdict.value.min,
                    verdict.value.max,
                    verdict.pass ? "pass" : "MISS");
    }
}

void print_troubles(const Results& results) {
    for (const std::string& skip : results.skips()) {
        std::printf("skipped %s\n", skip.c_str());
    }
    for (const std::string& failure : results.failures()) {
        std::printf("FAILED %s\n", failure.c_str());
    }
}

// Linear from zero: twice as long is twice as slow. What is more than ten times as slow as telpher is cut.
void print_bars(const Results& results) {
    for (const Picture& picture : all_pictures()) {
        const std::vector<Line> lines = measured_lines(picture, results);
        if (picture.shape != Shape::bars || lines.size() < 2 ||
            !lines.front().label.starts_with("telpher")) {
            continue;
        }
        const double first = shown(picture, lines.front().points.front(), results);
        double longest = 0;
        for (const Line& line : lines) {
            longest = std::max(longest, shown(picture, line.points.front(), results));
        }
        longest = std::min(longest, 10 * first);
        std::printf("\n%s, %s\n", picture.title.c_str(), picture.y_label.c_str());
        for (const Line& line : lines) {
            const double value = shown(picture, line.points.front(), results);
            const double width = std::ceil(kBarWidth * std::min(value, longest) / longest);
            std::printf("  %-44s %10.4g  %s%s\n",
                        line.label.c_str(),
                        value,
                        std::string(static_cast<std::size_t>(width), '#').c_str(),
                        value > longest ? ">" : "");
        }
    }
}

}  // namespace

void print_smoke(const Results& results) {
    print_troubles(results);
    std::printf("\n%zu rows, %zu skipped, %zu failures\n",
                results.rows().size(),
                results.skips().size(),
                results.failures().size());
}

void print_report(const Context& context, const Machine& machine, const Results& results) {
    std::printf("\n%s, %ld cores, %s, %s, %s, %s\n",
                machine.cpu.c_str(),
                machine.cores,
                machine.kernel.c_str(),
                machine.compiler.c_str(),
                machine.build.c_str(),
                machine.date.c_str());
    std::printf(
        "processors %d and %d, wait strategy %s, load (1 and 5 min) %s before, %s after, pause "
        "%.1f ns\n",
        context.cpus[0],
        context.cpus[1],
        context.wait_strategy.c_str(),
        machine.load_before.c_str(),
        machine.load_after.c_str(),
        context.clock.ns_per_pause);
    std::printf("noise: the floors moved by %.0f %% between rounds\n", 100.0 * noise_of(results));
    if (context.one_cpu) {
        std::printf("BOTH SIDES SHARE ONE PROCESSOR: these figures mean nothing.\n");
    }
    print_rows(results);
    print_bars(results);
    print_targets(results);
    print_troubles(results);
}

}  // namespace telpher::bench
