#include "src/client/retry_run.hpp"

#include <algorithm>
#include <string>
#include <utility>

namespace telpher::detail {

RetryRun::RetryRun(const RetryPolicy& policy,
                   const RetryTask& task,
                   RetryDestination* destination,
                   Duration now,
                   bool chained)
    : policy_(policy),
      task_(task),
      destination_(destination),
      began_(now),
      deadline_(after(now, policy.deadline)),
      chained_(chained),
      backoff_(policy) {
    if (task_.report != nullptr) {
        *task_.report = {};
    }
    if (destination_ != nullptr && policy_.budget) {
        destination_->deposit(*policy_.budget);
    }
}

// An attempt that ended by an exception has told nothing: the next call may be the probe.
RetryRun::~RetryRun() { tell(Health::unknown, began_); }

bool RetryRun::admit(Duration now) {
    if (attempt_ != 0 && now >= deadline_) {  // it slept longer than it was to
        over(RetryEnd::deadline, now);
        return false;
    }
    if (destination_ != nullptr && policy_.breaker) {
        const RetryDestination::Admission how = destination_->admit(now);
        if (how == RetryDestination::Admission::refused) {
            if (attempt_ == 0) {
                error_ = destination_->refusal(now);
            }
            over(RetryEnd::breaker, now);
            return false;
        }
        probe_ = how == RetryDestination::Admission::probe;
        told_ = false;
    }
    ++attempt_;
    attempt_began_ = now;
    return true;
}

Duration RetryRun::timeout(Duration now) const noexcept {
    return std::min(task_.timeout, deadline_ - now);
}

void RetryRun::succeeded(Duration now) {
    tell(Health::good, now);
    over(RetryEnd::succeeded, now);
}

std::optional<Duration> RetryRun::failed(Error error, Duration now, std::uint64_t random) {
    tell(health_of(task_.kind, error.status), now);
    if (task_.report != nullptr) {
        task_.report->failures.push_back({error, attempt_began_ - began_, waited_});
    }
    const RetryEnd why = obstacle(error);
    const Duration told = error.retry_after;
    keep(std::move(error));
    if (why != RetryEnd::succeeded) {
        over(why, now);
        return std::nullopt;
    }
    // What the other side says comes first: many were told the same, and our own wait spreads them.
    const Duration wait = after(std::max(told, Duration{}), backoff_.next(random));
    if (after(now, wait) >= deadline_) {
        over(RetryEnd::deadline, now);
        return std::nullopt;
    }
    // Last: a token is taken only for a retry that is made.
    if (destination_ != nullptr && policy_.budget && !destination_->withdraw(*policy_.budget)) {
        over(RetryEnd::budget, now);
        return std::nullopt;
    }
    waited_ = wait;
    return wait;
}

void RetryRun::cancelled(Duration now) {
    keep({Status::cancelled, 0, "while it waited to be tried again", Outcome::did_not_happen});
    error_.status = Status::cancelled;
    over(RetryEnd::cancelled, now);
}

// What stands against another attempt; `succeeded`: nothing.
RetryEnd RetryRun::obstacle(const Error& error) const noexcept {
    if (!retryable(task_.kind, error, policy_, task_.idempotent)) {
        return RetryEnd::not_retryable;
    }
    if (chained_) {
        return RetryEnd::chain;
    }
    return attempt_ >= policy_.attempts_max ? RetryEnd::attempts : RetryEnd::succeeded;
}

// A last attempt that did not happen must not hide an earlier one that may have: that one is answered.
void RetryRun::keep(Error error) {
    const Outcome outcome = outcome_of(task_.kind, error);
    last_ = error.status;
    if (outcome >= outcome_) {
        outcome_ = outcome;
        error_ = std::move(error);
    }
}

void RetryRun::tell(Health health, Duration now) {
    if (!told_) {
        told_ = true;
        destination_->tell(*policy_.breaker, health, probe_, now);
    }
}

void RetryRun::over(RetryEnd end, Duration now) {
    end_ = end;
    if (task_.report != nullptr) {
        task_.report->attempts = attempt_;
        task_.report->took = now - began_;
        task_.report->end = end;
    }
}

std::string RetryRun::story(Duration now) const {
    const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(now - began_);
    std::string text = std::to_string(attempt_) +
                       (attempt_ == 1 ? " attempt in " : " attempts in ") +
                       std::to_string(took.count()) + " ms, ";
    if (last_ != error_.status) {
        text += "the last one " + std::string(to_string(last_)) + ", ";
    }
    switch (end_) {
        case RetryEnd::attempts:
            return text + "attempts_max is " + std::to_string(policy_.attempts_max);
        case RetryEnd::deadline:
            return text + "no further one fits into the deadline";
        case RetryEnd::budget:
            return text + "the retry budget is used up";
        case RetryEnd::breaker:
            return text + "then the circuit breaker opened";
        case RetryEnd::chain:
            return text + "a caller further up retries";
        case RetryEnd::cancelled:
            return text + "then cancelled";
        default:
            return text + "which is not to be tried again";
    }
}

Error RetryRun::error(Duration now) && {
    const bool once = attempt_ <= 1 && (end_ == RetryEnd::not_retryable ||
                                        end_ == RetryEnd::attempts || end_ == RetryEnd::breaker);
    if (!once) {
        error_.detail += (error_.detail.empty() ? "" : "; ") + story(now);
        error_.effect = outcome_;
    }
    return std::move(error_);
}

}  // namespace telpher::detail
