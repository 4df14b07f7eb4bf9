#pragma once
// A gate before the handlers of consumers: a message that names another one as its cause waits until that
// one was processed, or a time has passed. ConsumeOptions::gate.
//
//   auto gate = telpher::CausalGate::make().value();
//   auto orders = server.queue("orders")->consume(book, {.gate = gate}).value();
//   auto bills = server.queue("bills")->consume(pay, {.gate = gate}).value();

#include "telpher/options.hpp"
#include "telpher/result.hpp"

#include <chrono>
#include <cstdint>
#include <memory>
#include <string_view>
#include <utility>

namespace telpher {

namespace detail {
class Consuming;
class GateCore;
}  // namespace detail

struct CausalGateOptions {
    // How long a message waits at most for the one that it names, 0 ns to 365 days. Then it is handled all the
    // same, and counted.
    Duration wait = std::chrono::seconds(1);
    // Names of processed messages (each has its id, some a request id), 1..16'777'216, about 100 bytes each;
    // the oldest are forgotten.
    std::uint32_t remember_max = 65'536;
    // Messages that wait with one consumer, 1..65'536. With so many it polls no further until one goes on; what
    // its threads have fetched by then may exceed it.
    std::uint32_t parked_max = 256;
};

// A snapshot, of all consumers of the gate.
struct CausalGateStatus {
    std::uint64_t remembered = 0;  // names, now
    std::uint64_t parked = 0;      // messages that wait, now
    std::uint64_t passed = 0;      // messages that waited, and whose causes were processed
    std::uint64_t timed_out = 0;   // messages that were handled without
    std::uint64_t forgotten = 0;   // names, because there were remember_max
};

// A handle; copies share the gate. One gate may serve consumers of several queues, domains, Clients and Servers.
//
//   Cause      the causation id of a message: what a handler sends carries `to_string(message.id())` of the
//              message that it was called for, if that carries a correlation id, causation id or traceparent;
//              or any text of with_causation_id. A message without one, or that names itself, never waits.
//   Processed  a message whose handler ended with ack or reject, as soon as its queue has taken that word, under
//              `to_string(message.id())` and its request id; and what `processed` is told. One that was given
//              back, or whose handler failed, is not.
//   Parked     a message whose turn comes before its cause was processed stays with its consumer, its lease is
//              extended as of those being handled, and the consumer goes on with the next one: nothing
//              waits behind it. When its cause is processed, here or by another consumer of the gate, it is
//              the next that a free thread of its consumer handles; when `wait` has passed, too. Its `expires_in`
//              is not looked at again.
//   Again      a message that is handed out again waits as if it came for the first time.
//   Lost       one whose lease ends meanwhile is told (lease_expired), counted, and not handled.
//   Stop       of the consumer: parked messages are given back, without a delay, which counts as a delivery.
//              Those that cannot be (at_most_once), or that would be dead letters for it (deliveries_max), are
//              handled before stop returns, without their causes, and not counted as timed_out. If the queue
//              was removed, each is handled in its time.
//   Limits     of this process: nothing is told to others, and nothing outlives it. A name that was forgotten, or
//              was processed before the gate was made, is waited for in vain, once. Names are told apart
//              by hashes of 128 bits.
//   Cost       a hash and a lock for each message that is acknowledged, and for each that names a cause.
//   Crash      killed: what waits is handed out again (at_least_once), as what its handlers had in hand.
//   Threads    all members any number at once.
//   Fork       in a child nothing happens.
class CausalGate {
  public:
    // Errors: bad_request (an option, by its name).
    static Result<CausalGate> make(const CausalGateOptions& options = {});

    // Says so of a message that no consumer of this gate handled: a topic's, a function's request. Any text
    // that others name as their cause.
    void processed(std::string_view id);
    // Whether it was, and is remembered.
    [[nodiscard]] bool was_processed(std::string_view id) const;
    [[nodiscard]] CausalGateStatus status() const;

  private:
    friend class detail::Consuming;
    explicit CausalGate(std::shared_ptr<detail::GateCore> core) : core_(std::move(core)) {}
    std::shared_ptr<detail::GateCore> core_;
};

}  // namespace telpher
