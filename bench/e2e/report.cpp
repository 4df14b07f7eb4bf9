#include "bench/e2e/report.hpp"

#include <sys/utsname.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <ctime>
#include <fstream>
#include <memory>

namespace telpher::bench {

namespace {

std::string quoted(const std::string& text) {
    std::string out = "\"";
    for (const char c : text) {
        if (c == '"' || c == '\\') {
            out += '\\';
        }
        out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
    }
    return out + '"';
}

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
    std::printf("\n%-38s %9s %9s %9s %9s\n", "target", "wanted", "median", "min", "max");
    for (const Target& target : all_targets()) {
        const Verdict verdict = judge(target, results);
        if (!verdict.measured) {
            continue;  // not asked for, or no room or library for it
        }
        std::printf(
            "%-38s %2s %6.6g", target.text.c_str(), target.at_least ? ">=" : "<=", target.limit);
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

void write_samples(std::FILE* out, const Row& row) {
    std::fprintf(out,
                 "    {\"row\": %s, \"unit\": %s, \"samples\": [",
                 quoted(row.name).c_str(),
                 quoted(row.unit).c_str());
    for (std::size_t i = 0; i < row.samples.size(); ++i) {
        const Sample& s = row.samples[i];
        std::fprintf(
            out,
            "%s{\"p50\": %.6g, \"p99\": %.6g, \"mean\": %.6g, \"max\": %.6g, \"preempted\": %g}",
            i == 0 ? "" : ", ",
            s.p50,
            s.p99,
            s.mean,
            s.max,
            s.preemptions);
    }
    std::fprintf(out, "]}");
}

void write_targets(std::FILE* out, const Results& results) {
    bool first = true;
    for (const Target& target : all_targets()) {
        const Verdict verdict = judge(target, results);
        if (!verdict.measured) {
            continue;
        }
        std::fprintf(
            out,
            "%s    {\"target\": %s, \"wanted\": %s, \"median\": %.6g, \"min\": %.6g, \"max\": "
            "%.6g, \"pass\": %s}",
            first ? "" : ",\n",
            quoted(target.text).c_str(),
            quoted((target.at_least ? ">= " : "<= ") + std::to_string(target.limit)).c_str(),
            verdict.value.median,
            verdict.value.min,
            verdict.value.max,
            verdict.pass ? "true" : "false");
        first = false;
    }
}

}  // namespace

std::string load_average() {
    std::ifstream file("/proc/loadavg");
    std::string one;
    std::string five;
    file >> one >> five;
    return one + " " + five;
}

Machine look_at_machine() {
    Machine machine;
    std::ifstream cpuinfo("/proc/cpuinfo");
    for (std::string line; std::getline(cpuinfo, line);) {
        if (line.starts_with("model name")) {
            machine.cpu = line.substr(line.find(':') + 2);
            break;
        }
    }
    utsname name{};
    uname(&name);
    machine.kernel = std::string(name.sysname) + " " + name.release + " " + name.machine;
#if defined(__clang__)
    machine.compiler = "clang " __clang_version__;
#else
    machine.compiler = "gcc " __VERSION__;
#endif
#if defined(__OPTIMIZE__)
    machine.build = "optimised";
#else
    machine.build = "NOT OPTIMISED";
#endif
    machine.cores = sysconf(_SC_NPROCESSORS_ONLN);
    machine.load_before = load_average();
    const std::time_t now = std::time(nullptr);
    tm utc{};
    gmtime_r(&now, &utc);
    char date[32];
    std::strftime(date, sizeof(date), "%Y-%m-%d %H:%M UTC", &utc);
    machine.date = date;
    return machine;
}

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
    print_targets(results);
    print_troubles(results);
}

Result<void> write_json(const std::string& path,
                        const Context& context,
                        const Machine& machine,
                        const Results& results) {
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "w"),
                                                               &std::fclose);
    if (file == nullptr) {
        return Error{Status::server_error, errno, "cannot write " + path};
    }
    std::FILE* out = file.get();
    std::fprintf(out,
                 "{\n  \"machine\": {\"cpu\": %s, \"cores\": %ld, \"kernel\": %s, \"compiler\": "
                 "%s, \"build\": %s, \"date\": %s, \"load_before\": %s, \"load_after\": %s},\n",
                 quoted(machine.cpu).c_str(),
                 machine.cores,
                 quoted(machine.kernel).c_str(),
                 quoted(machine.compiler).c_str(),
                 quoted(machine.build).c_str(),
                 quoted(machine.date).c_str(),
                 quoted(machine.load_before).c_str(),
                 quoted(machine.load_after).c_str());
    std::fprintf(out,
                 "  \"processors\": [%d, %d], \"one_processor\": %s, \"wait_strategy\": %s, "
                 "\"ns_per_pause\": %.4g, \"noise\": %.4g,\n  \"rows\": [\n",
                 context.cpus[0],
                 context.cpus[1],
                 context.one_cpu ? "true" : "false",
                 quoted(context.wait_strategy).c_str(),
                 context.clock.ns_per_pause,
                 noise_of(results));
    for (std::size_t i = 0; i < results.rows().size(); ++i) {
        std::fprintf(out, "%s", i == 0 ? "" : ",\n");
        write_samples(out, results.rows()[i]);
    }
    std::fprintf(out, "\n  ],\n  \"targets\": [\n");
    write_targets(out, results);
    std::fprintf(out, "\n  ],\n  \"failures\": [");
    for (std::size_t i = 0; i < results.failures().size(); ++i) {
        std::fprintf(out, "%s%s", i == 0 ? "" : ", ", quoted(results.failures()[i]).c_str());
    }
    std::fprintf(out, "]\n}\n");
    return std::ferror(out) == 0 ? Result<void>{}
                                 : Error{Status::server_error, errno, "cannot write " + path};
}

}  // namespace telpher::bench
