#pragma once
// Which failures are retried: pure functions of the operation and its error.
//
// Two questions, apart from each other. Did it happen? The status alone does not say: an offer that timed
// out was not accepted, a call that timed out may have run. May another attempt end otherwise? The set of
// the policy, or the default one.

#include "telpher/retry.hpp"
#include "telpher/status.hpp"

#include <cstdint>

namespace telpher::detail {

enum class RetryKind : std::uint8_t { connect, call, oneway, offer, publish };

// Statuses that stay what they are however often one tries, or that tell of a mistake.
[[nodiscard]] bool never_passes(Status status) noexcept;

// Whether an operation that failed with `error` took effect, as carefully as the operation asks for.
[[nodiscard]] Outcome outcome_of(RetryKind kind, const Error& error) noexcept;

// Whether a failed operation may be tried again under `policy`.
[[nodiscard]] bool retryable(RetryKind kind,
                             const Error& error,
                             const RetryPolicy& policy,
                             bool idempotent) noexcept;

// What an answer says of the destination's health, for its circuit breaker.
enum class Health : std::uint8_t { good, bad, unknown };
[[nodiscard]] Health health_of(RetryKind kind, Status status) noexcept;

}  // namespace telpher::detail
