// telpher_bench: telpher beside its yardsticks, in one run on one machine. bench/README.md says how
// to read it.
#include "bench/e2e/options.hpp"
#include "bench/e2e/report.hpp"

#include <cstdio>

namespace telpher::bench {

Benchmark one_row(std::string name,
                  std::string question,
                  std::function<Result<Sample>(const Context&)> run) {
    auto wrapped = [name,
                    run = std::move(run)](const Context& context) -> Result<std::vector<Reading>> {
        const auto sample = run(context);
        if (!sample) {
            return sample.error();
        }
        return std::vector<Reading>{{name, "ns", *sample}};
    };
    return {std::move(name), std::move(question), true, std::move(wrapped)};
}

std::vector<Benchmark> all_benchmarks() {
    std::vector<Benchmark> list;
    add_floor_rows(list);
    add_queue_rows(list);
    add_spsc_rows(list);
    add_batch_rows(list);
    add_fan_rows(list);
    add_topic_rows(list);
    add_loan_rows(list);
    add_large_loan_rows(list);
    add_size_rows(list);
    add_blocking_rows(list);
    add_call_rows(list);
    add_boost_mq_rows(list);
    add_mq_peer_rows(list);
    add_pipe_peer_rows(list);
    add_socket_peer_rows(list);
    add_zmq_peer_rows(list);
    add_zmq_publish_rows(list);
    add_lifecycle_rows(list);
    add_memory_rows(list);
    add_idle_rows(list);
    add_stall_rows(list);
    add_durable_rows(list);
    add_bridge_request_rows(list);
    add_bridge_hand_over_rows(list);
    add_bridge_connection_rows(list);
    add_zmq_tcp_rows(list);
    add_redis_rows(list);
    add_nats_rows(list);
    return list;
}

namespace {

bool selected(const Benchmark& benchmark, const std::vector<std::string>& only) {
    for (const std::string& part : only) {
        if (benchmark.name.find(part) != std::string::npos) {
            return true;
        }
    }
    return only.empty();
}

// One round of one benchmark. False when the run must end.
bool run_once(const Benchmark& benchmark, const Context& context, Results& results) {
    if (interrupted() || monotonic_now_ns() > context.deadline_ns) {
        results.add_failure(
            benchmark.name,
            Error{interrupted() ? Status::cancelled : Status::timed_out, 0, "not run"});
        return false;
    }
    std::fprintf(stderr, "%s ", benchmark.name.c_str());
    const auto readings = benchmark.run(context);
    if (!readings && is_skip(readings.error())) {
        results.add_skip(benchmark.name, readings.error().detail);
        return true;
    }
    if (!readings) {
        results.add_failure(benchmark.name, readings.error());
        std::fprintf(stderr, "FAILED %s\n", to_string(readings.error()).c_str());
        return !interrupted();
    }
    for (const Reading& reading : *readings) {
        results.add(reading);
    }
    return true;
}

// Round by round: A B C A B C, so that what drifts drifts for all.
void run_all(const std::vector<Benchmark>& list, const Context& context, Results& results) {
    for (std::uint32_t round = 0; round < context.scale.rounds; ++round) {
        std::fprintf(stderr, "round %u/%u: ", round + 1, context.scale.rounds);
        for (const Benchmark& benchmark : list) {
            if ((benchmark.every_round || round == 0) && !run_once(benchmark, context, results)) {
                return;
            }
        }
        std::fprintf(stderr, "\n");
    }
}

int run(int argc, char** argv) {
    Context context;
    const Arguments arguments = parse(argc, argv, context);
    std::vector<Benchmark> list;
    for (Benchmark& benchmark : all_benchmarks()) {
        if (selected(benchmark, arguments.only)) {
            list.push_back(std::move(benchmark));
        }
    }
    if (arguments.list) {
        for (const Benchmark& benchmark : list) {
            std::printf("%-22s %s\n", benchmark.name.c_str(), benchmark.question.c_str());
        }
        return 0;
    }
    choose_cpus(context, arguments);
    watch_signals();
    context.clock = measure_clock_rates();
    context.deadline_ns = monotonic_now_ns() + arguments.deadline_s * 1'000'000'000U;
    Machine machine = look_at_machine();
    Results results;
    run_all(list, context, results);
    machine.load_after = load_average();
    if (arguments.smoke) {
        print_smoke(results);
    } else {
        print_report(context, machine, results);
    }
    if (!arguments.json.empty()) {
        if (const auto written = write_json(arguments.json, context, machine, results); !written) {
            std::fprintf(stderr, "%s\n", to_string(written.error()).c_str());
            return 1;
        }
    }
    return results.failures().empty() && !list.empty() ? 0 : 1;
}

}  // namespace
}  // namespace telpher::bench

int main(int argc, char** argv) { return telpher::bench::run(argc, argv); }
