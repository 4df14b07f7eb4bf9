#pragma once
// A telpher domain for one round: made by side 0, used by all sides, gone afterwards.
//
//   Crash   `run_in_domain` takes the domain away in a child of its own if a side failed, so that
//           the parent stays a process that never used the library and may fork on.

#include "telpher/telpher.hpp"

#include "bench/e2e/harness.hpp"

namespace telpher::bench {

inline WaitStrategy strategy_of(const Context& context) {
    return context.wait_strategy == "latency" ? WaitStrategy::latency
           : context.wait_strategy == "eco"   ? WaitStrategy::eco
                                              : WaitStrategy::balanced;
}

inline ServerOptions server_options(const Context& context) {
    ServerOptions options;
    options.mode = OpenMode::create;
    options.wait_strategy = strategy_of(context);
    return options;
}

inline Client join(Side& side, const std::string& domain) {
    ConnectOptions options;
    options.wait_strategy = strategy_of(side.context());
    return side.must(connect("shm:" + domain, options), "connect");
}

// As run_sides; and whatever happens, `domain` does not exist afterwards.
Result<void> run_in_domain(const Context& context,
                           SharedBoard& board,
                           const std::string& domain,
                           const std::vector<Body>& bodies);

// Two sides and two queues "there" and "back" of 1024; side i sends to `out` and receives from
// `in`.
struct Queues {
    Queue out;
    Queue in;
};
using QueueBody = std::function<void(Side&, Queues&)>;
Result<Sample> run_queue_pair(const Context& context,
                              const QueueBody& first,
                              const QueueBody& second);

}  // namespace telpher::bench
