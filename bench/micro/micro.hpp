#pragma once
// What the micro benchmarks share.

#include <benchmark/benchmark.h>

#include <cstdint>

namespace telpher::bench {

// Prints as "12.3n": nanoseconds per operation, where one iteration does `operations` of them.
inline void report_per_operation(benchmark::State& state, std::uint64_t operations = 1) {
    state.counters["s_per_op"] = benchmark::Counter(
        static_cast<double>(state.iterations()) * static_cast<double>(operations),
        benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}

}  // namespace telpher::bench
