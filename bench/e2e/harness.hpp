#pragma once
// Two forked processes, each on its own processor, that measure one thing together.
//
//   Processes  forked from a parent that has never used the library (its handles do not survive a
//              fork); each opens its own connection. They talk to the parent through one shared
//              Board.
//   Time       a child has `alarm`, the parent waits on pidfds: nothing hangs, and the parent does
//              not wake up while its children measure.
//   Crash      children die with their parent; a child that fails or is late takes the other one
//              along.

#include "telpher/result.hpp"

#include "bench/e2e/board.hpp"
#include "bench/e2e/clock.hpp"

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace telpher::bench {

// How much of everything one run does.
struct Scale {
    const char* name = "full";
    std::uint32_t rounds = 7;
    std::uint64_t round_trips = 300'000;    // per round
    std::uint64_t messages = 5'000'000;     // per round, one way
    std::uint64_t slow_messages = 400'000;  // the same, for peers that take a microsecond each
    std::uint32_t kills = 200;
    std::uint32_t attaches = 100;
    std::uint32_t idle_ms = 5000;
    std::uint32_t child_seconds_max = 60;  // the alarm of every child
};

struct Context {
    Scale scale{};
    ClockRates clock{};
    int cpus[2] = {0, 1};
    std::vector<int>
        more_cpus{};       // for a third side and further ones; they share when there is none
    bool one_cpu = false;  // both sides on one processor: figures mean nothing, waiting loops yield
    std::string wait_strategy = "balanced";
    bool patient = false;               // cleaning up: signals are not listened to
    std::uint64_t deadline_ns = ~0ULL;  // of the whole run, monotonic

    [[nodiscard]] double to_ns(double measured_ticks) const {
        return measured_ticks * clock.ns_per_tick;
    }
    // Names are unique per process and call, so that two runs never meet.
    [[nodiscard]] std::string new_name() const;
    // The processor of side `i`.
    [[nodiscard]] int cpu_of(int i) const;
    // One step of a busy loop.
    void relax() const noexcept;
};

// What a child knows of itself.
class Side {
  public:
    Side(const Context& context, Board& board, int index, int parties)
        : context_(context), board_(board), index_(index), parties_(parties) {}

    // Meets the other side(s). Returns when all have come here equally often.
    void sync();
    [[nodiscard]] Board& board() noexcept { return board_; }
    [[nodiscard]] const Context& context() const noexcept { return context_; }
    // The figures of this round: of times in ticks that were told apart, or one mean.
    void tell(const Histogram& times);
    void tell_mean(std::uint64_t took_ticks, std::uint64_t messages);
    // Says why this cannot be measured here: the row is left out, which is no failure. Call it before
    // a `sync` that all sides come to, after which each asks `skipped` and returns.
    void skip(const std::string& why);
    [[nodiscard]] bool skipped() const noexcept { return board_.skip[0] != '\0'; }
    // Says why and ends this process.
    [[noreturn]] void fail(const std::string& why);
    // The value, or the end of this process.
    template <typename T>
    T must(Result<T> result, const char* what) {
        if (!result) {
            fail(std::string(what) + ": " + to_string(result.error()));
        }
        if constexpr (!std::is_void_v<T>) {
            return std::move(*result);
        }
    }

  private:
    const Context& context_;
    Board& board_;
    int index_;
    int parties_;
    std::uint32_t stage_ = 0;
};

using Body = std::function<void(Side&)>;

// A process that this one started. Killed and reaped by the destructor.
class Child {
  public:
    // `cpu` < 0: not pinned.
    static Result<Child> start(const Context& context, int cpu, const std::function<void()>& body);
    Child(Child&& other) noexcept;
    Child& operator=(Child&& other) noexcept;
    Child(const Child&) = delete;
    Child& operator=(const Child&) = delete;
    ~Child();

    void kill() noexcept;
    // Waits for its end. Errors: timed_out (it was killed then), peer_died (by a signal),
    // handler_error.
    Result<void> wait(const Context& context);
    [[nodiscard]] int pid() const noexcept { return pid_; }
    // Readable when the child has ended.
    [[nodiscard]] int descriptor() const noexcept { return pidfd_; }

  private:
    Child(int pid, int pidfd) : pid_(pid), pidfd_(pidfd) {}
    void reap(int* status) noexcept;

    int pid_ = -1;
    int pidfd_ = -1;
};

// Waits for all; the first one that fails takes the rest along.
Result<void> wait_all(const Context& context, std::vector<Child>& children);

// Runs the bodies at once, body i on processor i % 2, over a fresh board.
Result<void> run_sides(const Context& context, SharedBoard& board, const std::vector<Body>& bodies);

// The same for two, and what the measuring side told.
Result<Sample> run_pair(const Context& context, const Body& first, const Body& second);

// What a row returns that cannot be measured here, with the reason.
Error skipped(std::string why);
[[nodiscard]] bool is_skip(const Error& error);

// Whether SIGINT or SIGTERM came since `watch_signals`: benchmarks end early and clean up.
void watch_signals();
bool interrupted() noexcept;

}  // namespace telpher::bench
