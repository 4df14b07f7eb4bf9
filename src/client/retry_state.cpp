#include "src/client/retry_state.hpp"

#include <algorithm>
#include <cmath>

namespace telpher::detail {
namespace {

// Sums of a ratio like 0.1 are exact in millionths, not in binary fractions.
constexpr std::uint64_t kToken = 1'000'000;
// A destination of that name may be another one since.
constexpr Duration kRemembersFor = std::chrono::seconds(5);

std::uint64_t most_of(const RetryBudget& budget) noexcept {
    return std::uint64_t{budget.burst} * kToken;
}

}  // namespace

// ---- budget ------------------------------------------------------------------------------------

void RetryDestination::deposit(const RetryBudget& budget) {
    const auto part =
        static_cast<std::uint64_t>(std::lround(budget.ratio * static_cast<double>(kToken)));
    const std::lock_guard hold(mutex_);
    // Policies of several bursts may share a bucket: none takes away what another has brought.
    const std::uint64_t now = tokens_.value_or(most_of(budget));
    tokens_ = std::max(now, std::min(now + part, most_of(budget)));
}

bool RetryDestination::withdraw(const RetryBudget& budget) {
    const std::lock_guard hold(mutex_);
    const std::uint64_t now = tokens_.value_or(most_of(budget));
    if (now < kToken) {
        return false;
    }
    tokens_ = now - kToken;
    return true;
}

// ---- circuit breaker ---------------------------------------------------------------------------

RetryDestination::Admission RetryDestination::admit(Duration now) {
    const std::lock_guard hold(mutex_);
    if (state_ == State::closed) [[likely]] {
        return Admission::admitted;
    }
    if (state_ == State::open && now >= open_until_) {
        state_ = State::half_open;
    }
    if (state_ == State::half_open && !probing_) {
        probing_ = true;
        return Admission::probe;
    }
    return Admission::refused;
}

// Those that were admitted before it opened are heard, too: a success of theirs is as good as a probe's,
// a failure changes nothing any more.
void RetryDestination::tell(const CircuitBreaker& breaker,
                            Health health,
                            bool probe,
                            Duration now) {
    const std::lock_guard hold(mutex_);
    if (probe) {
        probing_ = false;
    }
    if (health == Health::good) {
        state_ = State::closed;
        failures_ = 0;
    } else if (health == Health::bad) {
        failures_ += failures_ < breaker.failures_max ? 1U : 0U;
        if (probe || (state_ == State::closed && failures_ >= breaker.failures_max)) {
            open(breaker, now);
        }
    }
    // A probe that tells nothing leaves it half open: the next call is the probe.
}

void RetryDestination::open(const CircuitBreaker& breaker, Duration now) {
    state_ = State::open;
    const Duration last = Duration::max() - breaker.open_for;
    open_until_ = std::min(now, last) + breaker.open_for;
}

Error RetryDestination::refusal(Duration now) const {
    const std::lock_guard hold(mutex_);
    std::string text = "the circuit breaker of " + label_ + " is open after " +
                       std::to_string(failures_) + " failures in a row; ";
    if (state_ == State::open) {
        const auto left =
            std::chrono::ceil<std::chrono::milliseconds>(std::max(open_until_ - now, Duration{}));
        text += "it lets a probe through in " + std::to_string(left.count()) + " ms; not sent";
    } else {
        text += "a probe is on its way; not sent";
    }
    return {Status::overloaded, 0, std::move(text), Outcome::did_not_happen};
}

std::optional<bool> RetryDestination::remembers(Duration now) const {
    const std::lock_guard hold(mutex_);
    return now < remembers_until_ ? std::optional(remembers_) : std::nullopt;
}

void RetryDestination::found_out(bool remembers, Duration now) {
    const std::lock_guard hold(mutex_);
    remembers_ = remembers;
    remembers_until_ = now + kRemembersFor;
}

RetryDestination::State RetryDestination::state() const {
    const std::lock_guard hold(mutex_);
    return state_;
}

}  // namespace telpher::detail
