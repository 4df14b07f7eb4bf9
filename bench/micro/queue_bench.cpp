// Question: what do the public calls cost when nothing has to move between processors?
// Method:   one thread offers and polls on one queue of a real domain. `depth` messages are offered
//           before they are polled: 1 = the same chunk and slot again and again, 512 = a stream's
//           walk.
// Not here: two processes (bench/e2e/queue_rows.cpp), whose figures are the ones that count.
#include "telpher/telpher.hpp"

#include "bench/micro/micro.hpp"

#include <unistd.h>

#include <memory>
#include <string>

namespace telpher::bench {

namespace {

constexpr std::size_t kPayloadBytes = 64;

// A domain for one benchmark, removed at its end.
class Domain {
  public:
    Domain() {
        static int count = 0;
        ServerOptions options;
        options.mode = OpenMode::create;
        server = Server::open("micro-" + std::to_string(getpid()) + "-" + std::to_string(++count),
                              options)
                     .value();
        queue = server.create_queue("queue").value();
    }
    Domain(const Domain&) = delete;
    Domain& operator=(const Domain&) = delete;
    ~Domain() { static_cast<void>(server.remove_domain()); }

    Server server;
    Queue queue;
};

void offer_poll(benchmark::State& state) {
    Domain domain;
    const std::string payload(kPayloadBytes, 'x');
    const Message message =
        Message::bytes("order", "application/octet-stream", std::as_bytes(std::span(payload)));
    const std::int64_t depth = state.range(0);
    bool good = true;
    for (auto _ : state) {
        for (std::int64_t i = 0; i < depth; ++i) {
            good = domain.queue.offer(message).has_value() && good;
        }
        for (std::int64_t i = 0; i < depth; ++i) {
            const auto delivery = domain.queue.poll();
            good = delivery.has_value() && good;
        }
    }
    if (!good) {
        state.SkipWithError("offer or poll failed");
    }
    report_per_operation(state, static_cast<std::uint64_t>(depth));
}
BENCHMARK(offer_poll)->ArgName("depth")->Arg(1)->Arg(512);

void loan_offer_poll_release(benchmark::State& state) {
    Domain domain;
    const std::int64_t depth = state.range(0);
    bool good = true;
    for (auto _ : state) {
        for (std::int64_t i = 0; i < depth; ++i) {
            auto loan = domain.queue.loan("order", kPayloadBytes);
            good = loan && domain.queue.offer(std::move(*loan)) && good;
        }
        for (std::int64_t i = 0; i < depth; ++i) {
            auto delivery = domain.queue.poll();
            good = delivery.has_value() && good;
            if (delivery) {
                delivery->release();
            }
        }
    }
    if (!good) {
        state.SkipWithError("loan, offer or poll failed");
    }
    report_per_operation(state, static_cast<std::uint64_t>(depth));
}
BENCHMARK(loan_offer_poll_release)->ArgName("depth")->Arg(1)->Arg(512);

void loan_and_drop(benchmark::State& state) {
    Domain domain;
    for (auto _ : state) {
        auto loan = domain.queue.loan("order", kPayloadBytes);
        benchmark::DoNotOptimize(loan);
    }
    report_per_operation(state);
}
BENCHMARK(loan_and_drop);

void poll_empty(benchmark::State& state) {
    Domain domain;
    for (auto _ : state) {
        auto delivery = domain.queue.poll();
        benchmark::DoNotOptimize(delivery);
    }
    report_per_operation(state);
}
BENCHMARK(poll_empty);

}  // namespace
}  // namespace telpher::bench
