// Retries: when a failed operation is tried again, how long after, and when never.
//
//   RetryPolicy policy{.attempts_max = 4, .base = 100ms, .deadline = 5s};
//   Client client = connect("shm:cafe", {.retry = policy}).value();        // all its operations
//   client.send("pay", order, 1s, {.retry = policy, .idempotent = true});  // one call
//
//   Applies to   connect, send, send_oneway, Queue::offer, publish. Not to polls, which take nothing when
//                they fail, nor to asynchronous operations, nor to several at once (offer_n).
//   Retried      what did not happen, or may happen twice (`idempotent`), if its status is one that passes.
//   Time         an operation's timeout is that of each attempt; `deadline` is that of all attempts and
//                waits together, and cuts the last attempt's timeout.
//   Chains       only the first caller retries: its requests carry no_retry, and while a handler serves
//                such a request, nothing that its thread calls is retried (Message::no_retry).
//   Threads      a policy is a value; budget and breaker are shared by the threads of a Client or Server.
//   Settings     of the domain change the policy of a Client or Server while it runs (Server::set). Not that
//                of a remote client.
//   Fork         in a child nothing is retried.
#pragma once

#include "telpher/result.hpp"
#include "telpher/status.hpp"

#include <chrono>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <stop_token>
#include <string_view>
#include <vector>

namespace telpher {

using Duration = std::chrono::nanoseconds;  // as in options.hpp

// A set of statuses. Numbers that this version does not know are never in it.
class StatusSet {
  public:
    constexpr StatusSet() = default;
    constexpr StatusSet(std::initializer_list<Status> statuses) {
        for (const Status status : statuses) {
            bits_ |= bit(status);
        }
    }
    [[nodiscard]] constexpr bool contains(Status status) const noexcept {
        return (bits_ & bit(status)) != 0;
    }
    constexpr bool operator==(const StatusSet&) const = default;

  private:
    static constexpr std::uint64_t bit(Status status) noexcept {
        const auto number = static_cast<unsigned>(status);
        return number < 64 ? std::uint64_t{1} << number : 0;
    }
    std::uint64_t bits_ = 0;
};

// How chance changes a wait. `w` is the wait without it: base * factor^(n-1) before retry n, at most cap.
enum class Jitter : std::uint8_t {
    none,          // w
    full,          // 0 to w: spreads most
    equal,         // w/2 to w
    decorrelated,  // base to 3 x the wait before (first: base), at most cap; without factor
    range,         // range_low * w to range_high * w, at most cap
};

// Retries that a destination is spared: a token for each, of which every call brings a part of one. A
// bucket per destination of a Client or Server; full at first.
struct RetryBudget {
    double ratio =
        0.1;  // of a token that each call brings, 0..1: retries per call, in the long run
    std::uint32_t burst = 3;  // tokens that the bucket holds, 1..1000
};

// Stops calling a destination that does not answer. After `failures_max` failures in a row it opens: calls
// are answered `overloaded` at once. After `open_for` one probe is let through; if it succeeds, all are.
// Failures are overloaded, peer_died, disconnected, server_error, and a call's timed_out.
struct CircuitBreaker {
    std::uint32_t failures_max = 20;              // 1..1'000'000
    Duration open_for = std::chrono::seconds(1);  // 1 ns to 24 h
};

// Where retries take time and chance from; for tests. Members are called by any number of threads.
class RetryClock {
  public:
    RetryClock() = default;
    RetryClock(const RetryClock&) = delete;
    RetryClock& operator=(const RetryClock&) = delete;
    virtual ~RetryClock() = default;
    // Since any moment; never goes back.
    [[nodiscard]] virtual Duration now() = 0;
    // Returns early when `stop` is requested.
    virtual void sleep(Duration time, const std::stop_token& stop) = 0;
    // Uniform in 64 bits.
    [[nodiscard]] virtual std::uint64_t random() = 0;
};

// A wait that the other side asked for (Error::retry_after) comes before the policy's own, which spreads those
// who were told the same; together they count against the deadline, not against `cap`.
struct RetryPolicy {
    std::uint32_t attempts_max = 4;                 // 1..1000, the first included; 1: no retries
    Duration base = std::chrono::milliseconds(50);  // before the first retry, 1 ns to 24 h
    double factor = 2;                              // from wait to wait, 1..100; 1: always `base`
    Duration cap = std::chrono::seconds(5);         // of one wait, base to 24 h
    Jitter jitter = Jitter::full;
    double range_low = 0.75;                                   // Jitter::range, 0..range_high
    double range_high = 1.25;                                  // range_low..100
    Duration deadline = std::chrono::seconds(30);              // of all together, 1 ns to 365 days
    std::optional<RetryBudget> budget = RetryBudget{};         // nothing: no budget
    std::optional<CircuitBreaker> breaker = CircuitBreaker{};  // nothing: no breaker
    // Instead of the statuses that pass by default: queue_full, timed_out, server_error, peer_died,
    // disconnected, out_of_memory, overloaded; for connect, domain_not_found, too. What may have happened is
    // retried only if it is idempotent, whatever stands here. Not allowed are those that no retry changes
    // (ok, none, duplicate, closed, gap, cancelled, bad_request, domain_removed, mismatch,
    // message_too_large, idempotency_conflict, forked, corrupt, version_mismatch).
    std::optional<StatusSet> retry_on{};
    std::shared_ptr<RetryClock> clock{};  // null: steady clock, a real sleep, a random generator

    // Whether every field is in its range. Error: bad_request, naming field, limit and value; so answers
    // every operation that is given such a policy.
    [[nodiscard]] Result<void> check() const;
};

// Why an operation was not tried again.
enum class RetryEnd : std::uint8_t {
    succeeded,
    not_retryable,  // the status does not pass, or it may have happened and must not happen twice
    attempts,       // attempts_max were made
    deadline,       // the next wait would have ended after it
    budget,         // no token was left
    breaker,        // the circuit breaker is open
    chain,          // a caller further up retries
    cancelled,      // its stop token, or the Client was closed
};
[[nodiscard]] std::string_view to_string(RetryEnd end) noexcept;

// What was tried. Whoever hands out a pointer to one reads it when the operation has returned.
struct RetryReport {
    struct Failure {
        Error error{};
        Duration began{};   // since the operation began
        Duration waited{};  // before this attempt
    };
    std::uint32_t attempts = 0;       // made; 0: the breaker was open
    std::vector<Failure> failures{};  // of each attempt that failed, in order
    Duration took{};                  // all together
    RetryEnd end = RetryEnd::succeeded;
};

// For offers and publishes, which have no options else.
struct RetryOptions {
    std::optional<RetryPolicy> retry{};  // instead of the Client's or Server's
    bool idempotent = false;             // it may happen twice: retried though it may have happened
    RetryReport* report = nullptr;       // filled if there is a policy
    std::stop_token stop{};
};

}  // namespace telpher
