// telpher_bench: telpher beside its yardsticks, in one run on one machine. bench/README.md says how
// to read it.
#include "bench/e2e/options.hpp"
#include "bench/e2e/plots.hpp"
#include "bench/e2e/progress.hpp"
#include "bench/e2e/report.hpp"
#include "bench/e2e/versions.hpp"

#include <algorithm>
#include <cstdio>
#include <utility>

namespace telpher::bench {

namespace {

bool selected(const Benchmark& benchmark, const Arguments& arguments) {
    for (const std::string& part : arguments.only) {
        if (benchmark.name.find(part) != std::string::npos) {
            return true;
        }
    }
    return arguments.only.empty() && (benchmark.part != Part::sweep || arguments.sweeps) &&
           (benchmark.part != Part::peer || arguments.peers);
}

struct Run {
    Context context{};
    Results results{};
};

// One round of one benchmark. False when the run must end.
bool run_once(const Benchmark& benchmark, std::uint32_t round, Run& run, Progress& progress) {
    const Context& context = run.context;
    Results& results = run.results;
    if (interrupted() || monotonic_now_ns() > context.deadline_ns) {
        results.add_failure(
            benchmark.name,
            Error{interrupted() ? Status::cancelled : Status::timed_out, 0, "not run"});
        return false;
    }
    progress.step(benchmark.name);
    const std::uint64_t before_ns = monotonic_now_ns();
    auto readings = benchmark.run(context);
    results.add_time(benchmark.name, monotonic_now_ns() - before_ns);
    if (!readings && is_skip(readings.error())) {
        results.add_skip(benchmark.name, readings.error().detail);
        return true;
    }
    if (!readings) {
        results.add_failure(benchmark.name, readings.error());
        progress.say("FAILED " + benchmark.name + ": " + to_string(readings.error()));
        return !interrupted();
    }
    for (Reading& reading : *readings) {
        results.add(std::move(reading), round);
    }
    return true;
}

// Round by round: A B C A B C, so that what drifts drifts for all.
void run_all(const std::vector<Benchmark>& list, Run& run) {
    const std::uint32_t rounds = run.context.scale.rounds;
    const auto each = static_cast<std::size_t>(std::count_if(
        list.begin(), list.end(), [](const Benchmark& one) { return one.every_round; }));
    Progress progress(each * (rounds - 1) + list.size(), rounds);
    for (std::uint32_t round = 0; round < rounds; ++round) {
        progress.round(round + 1);
        for (const Benchmark& benchmark : list) {
            if ((benchmark.every_round || round == 0) &&
                !run_once(benchmark, round, run, progress)) {
                return;
            }
        }
    }
}

void print_list(const std::vector<Benchmark>& list) {
    for (const Benchmark& benchmark : list) {
        std::printf("%-22s %s\n", benchmark.name.c_str(), benchmark.question.c_str());
    }
}

Result<void> ready_to_report(const Arguments& arguments) {
    Result<void> able;
    if (!arguments.json.empty()) {
        able = ready_to_write(arguments.json);
    }
    if (able && !arguments.plot.empty()) {
        able = ready_to_draw(arguments.plot);
    }
    return able;
}

void print_missing_peers() {
    for (const std::string& peer : missing_peers()) {
        std::printf(
            "not built in: %s (tools/bench-setup installs it; then configure and build again)\n",
            peer.c_str());
    }
}

// Tables, file and pictures of a run that has ended. False if one could not be written.
bool report(const Arguments& arguments, const Machine& machine, const Run& run) {
    if (arguments.json == kStandardOutput) {
        // nothing but that
    } else if (arguments.smoke) {
        print_smoke(run.results);
    } else {
        print_report(run.context, machine, run.results);
        if (arguments.peers) {
            print_missing_peers();
        }
    }
    Result<void> written;
    if (!arguments.json.empty()) {
        written = write_json(arguments.json, run.context, machine, run.results);
    }
    if (written && !arguments.plot.empty()) {
        written = draw_pictures(arguments.plot, machine, run.results);
    }
    if (!written) {
        std::fprintf(stderr, "telpher_bench: %s\n", to_string(written.error()).c_str());
    }
    return written.has_value();
}

int run(int argc, char** argv) {
    Run run;
    const Arguments arguments = parse(argc, argv, run.context);
    std::vector<Benchmark> list;
    for (Benchmark& benchmark : all_benchmarks()) {
        if (selected(benchmark, arguments)) {
            list.push_back(std::move(benchmark));
        }
    }
    if (list.empty()) {
        std::fprintf(stderr,
                     "telpher_bench: no benchmark has such a name; --list shows what there is\n");
        return 2;
    }
    if (arguments.list) {
        print_list(list);
        return 0;
    }
    if (const auto able = ready_to_report(arguments); !able) {  // before minutes of measuring
        std::fprintf(stderr, "telpher_bench: %s\n", to_string(able.error()).c_str());
        return 1;
    }
    choose_cpus(run.context, arguments);
    watch_signals();
    run.context.clock = measure_clock_rates();
    run.context.deadline_ns = monotonic_now_ns() + arguments.deadline_s * 1'000'000'000U;
    Machine machine = look_at_machine();
    run_all(list, run);
    machine.load_after = load_average();
    return report(arguments, machine, run) && run.results.failures().empty() ? 0 : 1;
}

}  // namespace
}  // namespace telpher::bench

int main(int argc, char** argv) { return telpher::bench::run(argc, argv); }
