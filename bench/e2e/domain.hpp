#pragma once
// A telpher domain for one round: made by side 0, used by all sides, gone afterwards.
//
//   Crash   `run_in_domain` takes the domain away in a child of its own if a side failed, so that
//           the parent stays a process that never used the library and may fork on.

#include "telpher/telpher.hpp"

#include "bench/e2e/harness.hpp"

#include <optional>

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

inline Client join(Side& side,
                   const std::string& domain,
                   std::optional<WaitStrategy> strategy = {}) {
    ConnectOptions options;
    options.wait_strategy = strategy.value_or(strategy_of(side.context()));
    return side.must(connect("shm:" + domain, options), "connect");
}

// As run_sides; and whatever happens, `domain` does not exist afterwards.
Result<void> run_in_domain(const Context& context,
                           SharedBoard& board,
                           const std::string& domain,
                           const std::vector<Body>& bodies);

// Whether `why` says that there is no room for so much here: a skip, no failure.
[[nodiscard]] bool no_room(Status why);

// What a pair needs: limits other than the default ones, for messages up to `message_bytes`.
struct PairSetup {
    std::uint32_t capacity = 1024;
    std::size_t message_bytes = 0;  // payload; 0 = the default limits will do
    std::size_t pool_bytes = 0;
    std::optional<WaitStrategy> strategy{};
    DeliveryMode delivery = DeliveryMode::at_most_once;
};

// Two sides and two queues "there" and "back"; side i sends to `out` and receives from `in`. A
// message that this version, or /dev/shm, has no room for is a skip.
struct Queues {
    Queue out;
    Queue in;
};
using QueueBody = std::function<void(Side&, Queues&)>;
Result<Sample> run_queue_pair(const Context& context,
                              const PairSetup& setup,
                              const QueueBody& first,
                              const QueueBody& second);
inline Result<Sample> run_queue_pair(const Context& context,
                                     const QueueBody& first,
                                     const QueueBody& second) {
    return run_queue_pair(context, PairSetup{}, first, second);
}

}  // namespace telpher::bench
