#pragma once
// What a destination remembers of requests that it has seen, so that one that comes twice has its
// effect once: ServeOptions::idempotency, QueueOptions::idempotency.
//
//   auto pay = server.serve("pay", book, {.idempotency = Idempotency{.ttl = 24h}});
//   client.send("pay", order.with_request_id("order-4711"), 1s);   // as often as it takes

#include "telpher/message.hpp"

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace telpher {

// Whose request ids are told apart. Numbers lie in shared memory: append only.
enum class IdempotencyScope : std::uint8_t {
    principal = 0,  // those of different users: of the process that sends, or of the bridge
    client = 1,     // those of different processes, and of different sessions of remote Clients
    global = 2      // nobody's: an id means one request, whoever sends it
};

// What becomes of a new request when as much is remembered as may be.
enum class WhenFull : std::uint8_t {
    reject = 0,       // limit_reached; it was not begun
    evict_oldest = 1  // the oldest outcome is forgotten: that request, sent again, would run again
};

// What becomes of a request that comes again after its first handler began and did not end: its process
// died, or it failed with an error that does not say that nothing happened.
enum class WhenUncertain : std::uint8_t {
    report = 0,  // its caller hears of it: peer_died, or the first failure; nothing runs
    rerun = 1    // it runs again, and its handler can tell (Message::rerun)
};

struct Idempotency {
    IdempotencyScope scope = IdempotencyScope::principal;
    // How long an outcome is remembered; 1 ms..30 days, and not beyond the domain's end. Of durable messages it is
    // in the log, and known when the domain is built again: unless the scope is `client`, whose clients end with the
    // domain. In the log the time counts from the offer's begin where it took less than a second or an eighth of the ttl.
    std::chrono::nanoseconds ttl = std::chrono::minutes(10);
    // Outcomes remembered for this destination; 0: a quarter of what the domain has room for
    // (DomainLimits::idempotency_entries, for all destinations). Each process counts now and then: several
    // may exceed it by an eighth or by 64 each. Evicted is a quarter at once.
    std::uint32_t entries_max = 0;
    // Memory for the responses that are kept, in bytes of their chunks; 0: any. Counted in the same way.
    std::uint64_t bytes_max = 0;
    WhenFull when_full = WhenFull::reject;
    WhenUncertain when_uncertain = WhenUncertain::report;
    // A request without an id is bad_request.
    bool required = false;
    // Functions: makes an id for requests that have none, of what makes them the same (leave timestamps
    // out, and order what has no order). Two requests that it takes for the same within `ttl` are one.
    // Runs on the thread that is to run the handler; an empty text or an exception: no id.
    std::function<std::string(const Message& request)> fingerprint{};
};

[[nodiscard]] std::string_view to_string(IdempotencyScope scope) noexcept;
[[nodiscard]] std::string_view to_string(WhenFull policy) noexcept;
[[nodiscard]] std::string_view to_string(WhenUncertain policy) noexcept;

// What a destination with a store tells about it. Counts are of its present life, over all processes.
struct IdempotencyFigures {
    bool on = false;
    std::uint64_t entries = 0;     // outcomes remembered, and requests under way
    std::uint64_t bytes = 0;       // chunks of the responses that are kept
    std::uint64_t duplicates = 0;  // requests that came again
    std::uint64_t replays = 0;     // of these, answered with the first response, or accepted before
    std::uint64_t conflicts = 0;   // of these, with another content
    std::uint64_t evicted = 0;     // outcomes forgotten before their time
};

}  // namespace telpher
