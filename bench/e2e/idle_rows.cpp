// Question: what does a process cost that waits for a message and gets none?
// Method:   it polls with a timeout of several seconds on an empty queue, after half a second in
//           which everything that follows an attach has ended. Processor time is that of the whole
//           process, all threads (CLOCK_PROCESS_CPUTIME_ID), switches come from getrusage. The
//           spinning at the start of the poll and the end of it are included. The floor is a process
//           without telpher that sleeps one second at a time: what one wake-up a second costs here.
// Not here: the cost of being woken (telpher_ping_pong and its p99).
#include "bench/e2e/domain.hpp"
#include "bench/e2e/rows.hpp"

#include <sys/resource.h>

#include <ctime>

namespace telpher::bench {

namespace {

struct Usage {
    std::uint64_t wall_ns = 0;
    std::uint64_t cpu_ns = 0;
    long switches = 0;
};

Usage usage_now() {
    timespec cpu{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    return {monotonic_now_ns(),
            static_cast<std::uint64_t>(cpu.tv_sec) * 1'000'000'000U +
                static_cast<std::uint64_t>(cpu.tv_nsec),
            usage.ru_nvcsw};
}

void wait_for_nothing(Side& side, Queue& queue, std::chrono::milliseconds time) {
    if (const auto delivery = queue.poll(time); delivery.status() != Status::timed_out) {
        side.fail("poll of an empty queue: " + std::string(to_string(delivery.status())));
    }
}

double percent_of_a_processor(const Usage& before, const Usage& after) {
    return 100.0 * static_cast<double>(after.cpu_ns - before.cpu_ns) /
           static_cast<double>(after.wall_ns - before.wall_ns);
}

// Before the first attach, so that no thread but this one is there.
void measure_floor(Side& side) {
    constexpr timespec kSecond{1, 0};
    const Usage before = usage_now();
    for (std::uint64_t ms = 0; ms < side.context().scale.idle_ms; ms += 1000) {
        clock_nanosleep(CLOCK_MONOTONIC, 0, &kSecond, nullptr);
    }
    side.board().add_value(percent_of_a_processor(before, usage_now()));
}

void measure_idle(Side& side, const std::string& domain) {
    Client client = join(side, domain);
    Queue queue = side.must(client.queue("empty"), "queue");
    wait_for_nothing(side, queue, std::chrono::milliseconds(500));
    const Usage before = usage_now();
    wait_for_nothing(side, queue, std::chrono::milliseconds(side.context().scale.idle_ms));
    const Usage after = usage_now();
    const auto wall = static_cast<double>(after.wall_ns - before.wall_ns);
    side.board().add_value(percent_of_a_processor(before, after));
    side.board().add_value(static_cast<double>(after.switches - before.switches) / (wall / 1e9));
}

Result<std::vector<Reading>> run_idle(const Context& context) {
    const std::string domain = context.new_name();
    SharedBoard board;
    const auto end =
        run_in_domain(context,
                      board,
                      domain,
                      {[&](Side& side) {
                           Server server = side.must(
                               Server::open(domain, server_options(side.context())), "open");
                           Queue queue = side.must(server.create_queue("empty"), "create_queue");
                           side.sync();
                           side.sync();
                           side.must(server.remove_domain(), "remove_domain");
                       },
                       [&](Side& side) {
                           measure_floor(side);
                           side.sync();
                           measure_idle(side, domain);
                           side.sync();
                       }});
    if (!end) {
        return end.error();
    }
    const auto once = [&board](std::size_t i) {
        const double value = board->values[i];
        return Sample{value, value, value, value};
    };
    return std::vector<Reading>{{"idle_floor", "%", once(0)},
                                {"idle_cpu", "%", once(1)},
                                {"idle_switches", "1/s", once(2)}};
}

}  // namespace

void add_idle_rows(std::vector<Benchmark>& list) {
    list.push_back({"idle",
                    "a process blocked in poll: processor time, voluntary switches per second",
                    false,
                    run_idle});
}

}  // namespace telpher::bench
