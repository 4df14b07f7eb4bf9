// Question: what does a telpher queue cost, complete messages through the public API?
// Method:   capacity 1024, 64 B payload, topic "order", id and timestamp by the library. The sender
//           puts the payload into one Message again and again (set_payload) and offers it; the
//           receiver polls, reads the payload in place and releases it. Both wait with a timeout:
//           they spin first. `queue_ping_pong_try` polls with timeout 0 in a loop of its own
//           instead. lease_oneway: the queue is at_least_once, and the receiver acknowledges each message.
//           depth_N: telpher_oneway with a queue of capacity N.
// Not here: loans (loan_rows.cpp), more than two processes.
#include "bench/e2e/drivers.hpp"
#include "bench/e2e/queue_port.hpp"
#include "bench/e2e/rows.hpp"

namespace telpher::bench {

namespace {

constexpr std::uint32_t kCapacity = 1024;

template <bool kTry>
Result<Sample> queue_round_trip(const Context& context) {
    const Amount amount = amount_of(context.scale.round_trips);
    return run_queue_pair(
        context,
        [&](Side& side, Queues& queues) {
            QueuePort<kTry> port(side, queues);
            ping(side, port, amount);
        },
        [&](Side& side, Queues& queues) {
            QueuePort<kTry> port(side, queues);
            pong(side, port, amount);
        });
}

template <bool kAcks>
Result<Sample> queue_one_way(const Context& context, Amount amount, std::uint32_t capacity) {
    return run_queue_pair(
        context,
        {.capacity = capacity,
         .delivery = kAcks ? DeliveryMode::at_least_once : DeliveryMode::at_most_once},
        [&](Side& side, Queues& queues) {
            QueuePort<false, kAcks> port(side, queues);
            produce(side, port, amount);
        },
        [&](Side& side, Queues& queues) {
            QueuePort<false, kAcks> port(side, queues);
            consume(side, port, amount);
        });
}

}  // namespace

void add_queue_rows(std::vector<Benchmark>& list) {
    list.push_back(
        one_row("telpher_ping_pong", "telpher queue, round trip, 64 B", queue_round_trip<false>));
    list.push_back(
        one_row("telpher_ping_pong_try", "the same, poll(0) in a loop", queue_round_trip<true>));
    list.push_back(one_row("telpher_oneway", "telpher queue, one way, 64 B", [](const Context& c) {
        return queue_one_way<false>(c, amount_of(c.scale.messages), kCapacity);
    }));
    list.push_back(one_row("lease_oneway", "the same, lent and acknowledged", [](const Context& c) {
        return queue_one_way<true>(c, amount_of(c.scale.messages), kCapacity);
    }));
}

void add_depth_rows(std::vector<Benchmark>& list) {
    for (const std::uint32_t capacity : {16U, 64U, 256U, 1024U, 4096U, 16384U}) {
        const std::string count = std::to_string(capacity);
        list.push_back(one_row("depth_" + count,
                               "telpher queue of capacity " + count + ", one way, 64 B",
                               [capacity](const Context& c) {
                                   return queue_one_way<false>(
                                       c, amount_of(c.scale.messages / 2), capacity);
                               }));
    }
}

}  // namespace telpher::bench
