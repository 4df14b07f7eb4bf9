// Question: how long do others stand still when a process is killed in the middle of its work?
// Method:   producer and consumer use one queue on processor 0; on processor 1 a victim offers to
//           and polls from the same queue without a pause until SIGKILL hits it at a random moment.
//           Each survivor notes the longest time between two finished operations; stall_kill is the
//           longer of the two in a window around each kill. stall_control is the same in windows
//           without a kill: what sleeping (20 us between offers), waking and scheduling cost
//           anyway. At the end the dead must have been reaped and every invariant of the domain
//           must hold.
// Not here: kills of the only consumer, where what stands still is the work and not a survivor.
#include "bench/e2e/domain.hpp"
#include "bench/e2e/rows.hpp"
#include "bench/e2e/stats.hpp"

#include <sched.h>
#include <sys/prctl.h>

#include <ctime>
#include <random>

namespace telpher::bench {

namespace {

struct Survivor {
    alignas(128) std::atomic<std::uint64_t> operations{0};
    std::atomic<std::uint64_t> longest_ns{0};  // in the window `window`
    std::atomic<std::uint64_t> window{0};
};
struct Watch {
    alignas(128) std::atomic<std::uint64_t> window{0};
    std::atomic<bool> stop{false};
    Survivor survivors[2];
    alignas(128) std::atomic<std::uint64_t> victim_operations{0};
};

void sleep_us(std::uint64_t us) {
    const timespec time{static_cast<time_t>(us / 1'000'000),
                        static_cast<long>(us % 1'000'000) * 1000};
    nanosleep(&time, nullptr);
}

// Notes gaps between operations. All relaxed: figures for people, read milliseconds later.
class GapMeter {
  public:
    GapMeter(Watch& watch, int survivor) : watch_(watch), self_(watch.survivors[survivor]) {}

    void finished_one() noexcept {
        const std::uint64_t now = monotonic_now_ns();
        const std::uint64_t window = watch_.window.load(std::memory_order_relaxed);
        if (window != self_.window.load(std::memory_order_relaxed)) {
            self_.longest_ns.store(0, std::memory_order_relaxed);
            self_.window.store(window, std::memory_order_relaxed);
        } else if (now - last_ns_ > self_.longest_ns.load(std::memory_order_relaxed)) {
            self_.longest_ns.store(now - last_ns_, std::memory_order_relaxed);
        }
        last_ns_ = now;
        self_.operations.fetch_add(1, std::memory_order_relaxed);
    }

  private:
    Watch& watch_;
    Survivor& self_;
    std::uint64_t last_ns_ = monotonic_now_ns();
};

// Under real-time priority (chrt) one side would keep the others of its processor from running at
// all.
void be_normal() {
    const sched_param none{};
    sched_setscheduler(0, SCHED_OTHER, &none);
}

void check_domain(Side& side, Server& server, std::uint64_t kills) {
    std::uint64_t reaped = 0;
    for (int i = 0; i < 100 && reaped < kills; ++i) {
        sleep_us(20'000);
        reaped = side.must(server.status(), "status").reaped;
    }
    if (reaped < kills) {
        side.fail(std::to_string(kills) + " killed, " + std::to_string(reaped) +
                  " reaped after 2 s");
    }
    const VerifyReport report = side.must(server.verify(), "verify");
    if (!report.problems.empty()) {
        side.fail("verify: " + report.problems.front());
    }
}

void run_producer(Side& side, Watch& watch, const std::string& domain) {
    be_normal();
    Server server = side.must(Server::open(domain, server_options(side.context())), "open");
    Queue queue = side.must(server.create_queue("shared", {.capacity = 256}), "create_queue");
    prctl(PR_SET_TIMERSLACK, 1UL);
    side.sync();
    const Message message = Message::text("order", "from the producer");
    GapMeter meter(watch, 0);
    while (!watch.stop.load(std::memory_order_relaxed)) {  // relaxed: seen some time soon
        side.must(queue.offer(message, std::chrono::seconds(5)), "producer's offer");
        meter.finished_one();
        sleep_us(20);
    }
    side.sync();
    check_domain(side, server, side.context().scale.kills);
    side.must(server.remove_domain(), "remove_domain");
}

void run_consumer(Side& side, Watch& watch, const std::string& domain) {
    be_normal();
    side.sync();
    Client client = join(side, domain);
    Queue queue = side.must(client.queue("shared"), "queue");
    GapMeter meter(watch, 1);
    while (!watch.stop.load(std::memory_order_relaxed)) {  // relaxed: seen some time soon
        if (const auto delivery = queue.poll(std::chrono::milliseconds(200)); delivery) {
            meter.finished_one();
        } else if (delivery.status() != Status::timed_out) {
            side.fail("consumer's poll: " + to_string(delivery.error()));
        }
    }
    side.sync();
}

void be_victim(const Context& context, Board& board, Watch& watch, const std::string& domain) {
    Side self(context, board, 3, 1);
    be_normal();
    Client client = join(self, domain);
    Queue queue = self.must(client.queue("shared"), "queue");
    const Message message = Message::text("order", "from the victim");
    for (;;) {
        static_cast<void>(queue.offer(message));
        static_cast<void>(queue.poll());
        watch.victim_operations.fetch_add(1, std::memory_order_relaxed);  // relaxed: a sign of life
    }
}

// Waits until `done()`, at most 10 s.
template <typename Done>
void await(Side& side, const char* what, Done&& done) {
    for (int i = 0; i < 50'000; ++i) {
        if (done()) {
            return;
        }
        sleep_us(200);
    }
    side.fail(std::string("waited 10 s for ") + what);
}

// One window: the longest gap of a survivor in it, in us. `victim` is killed in it, if given.
double watch_window(Side& side, Watch& watch, Child* victim, std::mt19937_64& random) {
    // relaxed throughout: figures for people
    const std::uint64_t window = watch.window.fetch_add(1, std::memory_order_relaxed) + 1;
    await(side, "the survivors to enter the window", [&] {
        return watch.survivors[0].window.load(std::memory_order_relaxed) == window &&
               watch.survivors[1].window.load(std::memory_order_relaxed) == window;
    });
    sleep_us(500 + random() % 2000);
    if (victim != nullptr) {
        victim->kill();
    }
    const std::uint64_t before[2] = {watch.survivors[0].operations.load(std::memory_order_relaxed),
                                     watch.survivors[1].operations.load(std::memory_order_relaxed)};
    sleep_us(8000);
    await(side, "the survivors to go on after a kill", [&] {
        return watch.survivors[0].operations.load(std::memory_order_relaxed) > before[0] &&
               watch.survivors[1].operations.load(std::memory_order_relaxed) > before[1];
    });
    const std::uint64_t gap_ns =
        std::max(watch.survivors[0].longest_ns.load(std::memory_order_relaxed),
                 watch.survivors[1].longest_ns.load(std::memory_order_relaxed));
    return static_cast<double>(gap_ns) / 1000.0;
}

// Values alternate: with a kill, without.
void run_killer(Side& side, Watch& watch, const std::string& domain) {
    side.sync();
    std::mt19937_64 random(
        side.context().scale.kills);  // the moments are random enough by themselves
    for (std::uint32_t i = 0; i < side.context().scale.kills; ++i) {
        const std::uint64_t before =
            watch.victim_operations.load(std::memory_order_relaxed);  // as there
        auto victim =
            side.must(Child::start(side.context(),
                                   side.context().cpus[1],
                                   [&] { be_victim(side.context(), side.board(), watch, domain); }),
                      "fork");
        await(side, "the victim to start", [&] {
            return watch.victim_operations.load(std::memory_order_relaxed) >
                   before + 100;  // as there
        });
        const double control = watch_window(side, watch, nullptr, random);
        side.board().add_value(watch_window(side, watch, &victim, random));
        side.board().add_value(control);
    }
    watch.stop.store(true, std::memory_order_relaxed);  // relaxed: seen some time soon
    side.sync();
}

Result<std::vector<Reading>> run_stall(const Context& given) {
    Context context = given;
    context.scale.child_seconds_max +=
        context.scale.kills / 2;  // on a busy machine each takes a while
    const std::string domain = context.new_name();
    SharedBoard board;
    Shared<Watch> watch;
    const auto end = run_in_domain(context,
                                   board,
                                   domain,
                                   {[&](Side& side) { run_producer(side, *watch, domain); },
                                    [&](Side& side) { run_killer(side, *watch, domain); },
                                    [&](Side& side) { run_consumer(side, *watch, domain); }});
    if (!end) {
        return end.error();
    }
    std::vector<double> kills;
    std::vector<double> controls;
    for (std::uint32_t i = 0; i + 1 < board->value_count; i += 2) {
        kills.push_back(board->values[i]);
        controls.push_back(board->values[i + 1]);
    }
    return std::vector<Reading>{{"stall_kill", "us", sample_of(kills)},
                                {"stall_control", "us", sample_of(controls)}};
}

}  // namespace

void add_stall_rows(std::vector<Benchmark>& list) {
    list.push_back(
        {"stall", "longest gap of a survivor around a SIGKILL of its peer", false, run_stall});
}

}  // namespace telpher::bench
