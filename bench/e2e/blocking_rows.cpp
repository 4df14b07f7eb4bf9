// Question: what does a blocking call cost when the answer comes while it still spins, and when
//           both sides sleep?
// Method:   blocking_awake: the asking side rests 20 us between round trips, awake; the answering
//           side has been in `poll` all that time and still spins. Only the round trip is timed.
//           blocking_asleep: strategy `eco`, which sleeps at once: every message wakes its receiver.
//           futex: the same with two words and nothing else.
// Not here: the adaptive spinning of `balanced` under load (telpher_ping_pong, idle_rows.cpp).
#include "bench/e2e/drivers.hpp"
#include "bench/e2e/queue_port.hpp"
#include "bench/e2e/rows.hpp"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>

namespace telpher::bench {

namespace {

using BlockingPort = QueuePort<false>;

Result<Sample> awake(const Context& context) {
    const Amount amount = amount_of(context.scale.round_trips / 30 + 1);
    return run_queue_pair(
        context,
        [&](Side& side, Queues& queues) {
            BlockingPort port(side, queues);
            ping_rested(side, port, amount);
        },
        [&](Side& side, Queues& queues) {
            BlockingPort port(side, queues);
            pong(side, port, amount);
        });
}

Amount sleepy_amount(const Context& context) {
    return amount_of(context.scale.round_trips / 30 + 1);
}

Result<Sample> asleep(const Context& context) {
    PairSetup setup;
    setup.strategy = WaitStrategy::eco;
    const Amount amount = sleepy_amount(context);
    return run_queue_pair(
        context,
        setup,
        [&](Side& side, Queues& queues) {
            BlockingPort port(side, queues);
            ping(side, port, amount);
        },
        [&](Side& side, Queues& queues) {
            BlockingPort port(side, queues);
            pong(side, port, amount);
        });
}

struct FutexWords {
    alignas(128) std::atomic<std::uint32_t> there{0};
    alignas(128) std::atomic<std::uint32_t> back{0};
};

class FutexPort {
  public:
    FutexPort(std::atomic<std::uint32_t>& out, std::atomic<std::uint32_t>& in)
        : out_(out), in_(in) {}

    void send(std::uint64_t sequence) {
        // F1: pairs with F2.
        out_.store(static_cast<std::uint32_t>(sequence), std::memory_order_release);
        syscall(SYS_futex, &out_, FUTEX_WAKE, 1, nullptr, nullptr, 0);
    }
    std::uint64_t receive() {
        std::uint32_t got = 0;
        // F2: pairs with F1.
        while ((got = in_.load(std::memory_order_acquire)) == seen_) {
            syscall(SYS_futex, &in_, FUTEX_WAIT, seen_, nullptr, nullptr, 0);
        }
        seen_ = got;
        return got;
    }

  private:
    std::atomic<std::uint32_t>& out_;
    std::atomic<std::uint32_t>& in_;
    std::uint32_t seen_ = 0;
};

Result<Sample> futex(const Context& context) {
    Shared<FutexWords> words;
    const Amount amount = sleepy_amount(context);
    return run_pair(
        context,
        [&](Side& side) {
            FutexPort port(words->there, words->back);
            ping(side, port, amount);
        },
        [&](Side& side) {
            FutexPort port(words->back, words->there);
            pong(side, port, amount);
        });
}

}  // namespace

void add_blocking_rows(std::vector<Benchmark>& list) {
    add_two_lines_row(list, "awake");
    list.push_back(one_row(
        "blocking_awake", "telpher queue, 64 B, answered while the other side spins", awake));
    list.push_back(
        one_row("blocking_asleep", "telpher queue, 64 B, both sides sleep (eco)", asleep));
    list.push_back(one_row("futex", "two futex words, both sides sleep", futex));
}

}  // namespace telpher::bench
