#include "bench/e2e/harness.hpp"

#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <thread>

namespace telpher::bench {

namespace {

// Sides meet within microseconds when they run; a side that waits longer gives its processor away.
constexpr int kLooksAwake = 20'000;
constexpr int kSkipMark = -1;  // no errno

}  // namespace

ClockRates measure_clock_rates() {
    ClockRates rates;
    const std::uint64_t start_ns = monotonic_now_ns();
    const std::uint64_t start = ticks();
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    const std::uint64_t end_ns = monotonic_now_ns();
    rates.ns_per_tick =
        static_cast<double>(end_ns - start_ns) / static_cast<double>(ticks() - start);
    constexpr int kPauses = 100'000;
    const std::uint64_t before_ns = monotonic_now_ns();
    for (int i = 0; i < kPauses; ++i) {
        pause_once();
    }
    rates.ns_per_pause =
        std::max(0.1, static_cast<double>(monotonic_now_ns() - before_ns) / kPauses);
    return rates;
}

std::string Context::new_name() const {
    static int count = 0;
    return "bench-" + std::to_string(getpid()) + "-" + std::to_string(++count);
}

int Context::cpu_of(int i) const {
    const auto more = static_cast<std::size_t>(i < 2 ? 0 : i - 2);
    return i >= 2 && more < more_cpus.size() ? more_cpus[more] : cpus[i % 2];
}

void Context::relax() const noexcept {
    if (one_cpu) {
        sched_yield();
    } else {
        pause_once();
    }
}

void Side::sync() {
    ++stage_;
    // M1: pairs with M2. What this side did before is seen by everyone who leaves the meeting.
    board_.arrivals.fetch_add(1, std::memory_order_release);
    const auto all = static_cast<std::uint32_t>(parties_) * stage_;
    // M2: pairs with M1.
    for (int look = 0; board_.arrivals.load(std::memory_order_acquire) < all; ++look) {
        if (look < kLooksAwake) {
            context_.relax();
        } else {
            std::this_thread::sleep_for(std::chrono::microseconds(50));
        }
    }
}

void Side::tell(const Histogram& times) {
    board_.figures = {context_.to_ns(times.quantile(0.5)),
                      context_.to_ns(times.quantile(0.99)),
                      context_.to_ns(times.mean()),
                      context_.to_ns(static_cast<double>(times.max()))};
    board_.times = times;
    board_.ns_per_tick = context_.clock.ns_per_tick;
}

void Side::tell_mean(std::uint64_t took_ticks, std::uint64_t messages) {
    const double ns =
        context_.to_ns(static_cast<double>(took_ticks)) / static_cast<double>(messages);
    board_.figures = {ns, ns, ns, ns};
}

void Side::skip(const std::string& why) {
    std::snprintf(board_.skip, sizeof(board_.skip), "%s", why.c_str());
}

Error skipped(std::string why) { return {Status::cancelled, kSkipMark, std::move(why)}; }

bool is_skip(const Error& error) {
    return error.status == Status::cancelled && error.os_error == kSkipMark;
}

void Side::fail(const std::string& why) {
    if (board_.failure[0] == '\0') {
        std::snprintf(board_.failure, sizeof(board_.failure), "side %d: %s", index_, why.c_str());
    }
    _exit(1);
}

Result<void> run_sides(const Context& context,
                       SharedBoard& board,
                       const std::vector<Body>& bodies) {
    std::vector<Child> children;
    const int parties = static_cast<int>(bodies.size());
    for (int i = 0; i < parties; ++i) {
        auto child = Child::start(context, context.cpu_of(i), [&, i] {
            Side side(context, *board, i, parties);
            bodies[static_cast<std::size_t>(i)](side);
            rusage usage{};
            getrusage(RUSAGE_SELF, &usage);
            // relaxed: the parent reads it after our end
            board->preemptions.fetch_add(static_cast<std::uint32_t>(usage.ru_nivcsw),
                                         std::memory_order_relaxed);
        });
        if (!child) {
            return child.error();
        }
        children.push_back(std::move(*child));
    }
    Result<void> end = wait_all(context, children);
    board->figures.preemptions =
        board->preemptions.load(std::memory_order_relaxed);  // the children have ended
    if (!end && board->failure[0] != '\0') {
        return Error{end.status(), 0, board->failure};
    }
    if (end && board->skip[0] != '\0') {
        return skipped(board->skip);
    }
    return end;
}

Result<Sample> run_pair(const Context& context, const Body& first, const Body& second) {
    SharedBoard board;
    if (auto end = run_sides(context, board, {first, second}); !end) {
        return end.error();
    }
    return board->sample();
}

}  // namespace telpher::bench
