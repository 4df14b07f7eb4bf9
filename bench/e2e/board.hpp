#pragma once
// The memory that a benchmark's processes share with their parent: meeting point, figures,
// failures.

#include "bench/e2e/histogram.hpp"

#include <boost/interprocess/anonymous_shared_memory.hpp>
#include <boost/interprocess/mapped_region.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <new>
#include <utility>
#include <vector>

namespace telpher::bench {

// What one round of one benchmark gave, in the unit of its row.
struct Figures {
    double p50 = 0;
    double p99 = 0;
    double mean = 0;
    double max = 0;
    double preemptions = 0;  // involuntary switches of all sides: others wanted their processors
};

// The same, with how often each value was seen where values were told apart: (value, count), ascending.
using Counts = std::vector<std::pair<double, std::uint64_t>>;
struct Sample : Figures {
    Counts counts{};
    std::uint32_t round = 0;
};

struct Board {
    static constexpr std::size_t kValuesMax = 2048;

    alignas(128) std::atomic<std::uint32_t> arrivals{0};
    alignas(128) Figures figures{};
    double ns_per_tick = 0;  // of `times`
    std::atomic<std::uint32_t> preemptions{0};
    std::uint32_t value_count = 0;
    double values[kValuesMax] = {};
    Histogram times{};       // in ticks; empty where only a mean is known
    char failure[400] = {};  // of whoever failed first, or almost
    char skip[400] = {};     // why there is nothing to measure
    // Free for each benchmark.
    alignas(128) std::atomic<std::uint64_t> words[4] = {};

    void add_value(double value) noexcept {
        if (value_count < kValuesMax) {
            values[value_count++] = value;
        }
    }
    // By the parent, behind the end of all sides.
    [[nodiscard]] Sample sample() const {
        Sample sample{figures, {}, 0};
        times.visit([&](double value, std::uint64_t count) {
            sample.counts.emplace_back(value * ns_per_tick, count);
        });
        return sample;
    }
};

// A T in anonymous shared memory: it has no name, so nothing can be left behind.
template <typename T>
class Shared {
  public:
    Shared()
        : region_(boost::interprocess::anonymous_shared_memory(sizeof(T))),
          value_(new (region_.get_address()) T) {}

    T& operator*() noexcept { return *value_; }
    T* operator->() noexcept { return value_; }

  private:
    boost::interprocess::mapped_region region_;
    T* value_;
};
using SharedBoard = Shared<Board>;

}  // namespace telpher::bench
