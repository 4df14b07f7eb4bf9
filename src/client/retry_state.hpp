#pragma once
// What the callers of one destination share: the tokens of their retries, and a circuit breaker.
//
//   Threads   any number; a lock held for a few instructions, and only by operations with a policy.
//   Time      is given by the caller, so that tests need no clock.

#include "telpher/retry.hpp"

#include "src/client/retry_rules.hpp"

#include <cstdint>
#include <mutex>
#include <optional>
#include <string>

namespace telpher::detail {

class RetryDestination {
  public:
    // `label`: "function 'brew'", for texts.
    explicit RetryDestination(std::string label) : label_(std::move(label)) {}
    RetryDestination(const RetryDestination&) = delete;
    RetryDestination& operator=(const RetryDestination&) = delete;
    ~RetryDestination() = default;

    // ---- budget ----
    // A call begins: it brings its part of a token.
    void deposit(const RetryBudget& budget);
    // A token for a retry; false: none is left.
    [[nodiscard]] bool withdraw(const RetryBudget& budget);

    // ---- circuit breaker ----
    enum class State : std::uint8_t { closed, open, half_open };
    enum class Admission : std::uint8_t { refused, admitted, probe };
    // Whether an attempt may be made now. Whoever was admitted as the probe must `tell`.
    [[nodiscard]] Admission admit(Duration now);
    // How an attempt ended.
    void tell(const CircuitBreaker& breaker, Health health, bool probe, Duration now);
    // The error of one that was refused: overloaded, did not happen.
    [[nodiscard]] Error refusal(Duration now) const;
    [[nodiscard]] State state() const;

    // ---- whether it remembers requests (idempotency.hpp) ----
    // What was found out not long before `now`; nothing: ask.
    [[nodiscard]] std::optional<bool> remembers(Duration now) const;
    void found_out(bool remembers, Duration now);

  private:
    void open(const CircuitBreaker& breaker, Duration now);

    const std::string label_;
    mutable std::mutex mutex_;             // guards all below
    std::optional<std::uint64_t> tokens_;  // millionths; nothing: as many as there may be
    State state_ = State::closed;
    std::uint32_t failures_ = 0;  // in a row
    bool probing_ = false;
    Duration open_until_{};
    bool remembers_ = false;
    Duration remembers_until_{};  // 0: nobody has asked
};

}  // namespace telpher::detail
