#include "src/client/retry_rules.hpp"

namespace telpher::detail {
namespace {

constexpr StatusSet kNever{Status::ok,
                           Status::none,
                           Status::duplicate,
                           Status::closed,
                           Status::gap,
                           Status::cancelled,
                           Status::bad_request,
                           Status::domain_removed,
                           Status::mismatch,
                           Status::message_too_large,
                           Status::idempotency_conflict,
                           Status::forked,
                           Status::corrupt,
                           Status::version_mismatch};

constexpr StatusSet kPasses{Status::queue_full,
                            Status::timed_out,
                            Status::server_error,
                            Status::peer_died,
                            Status::disconnected,
                            Status::out_of_memory,
                            Status::overloaded};

// That somebody is not there yet is what a connect that is retried waits for.
constexpr StatusSet kPassesForConnect{Status::domain_not_found,
                                      Status::timed_out,
                                      Status::disconnected,
                                      Status::out_of_memory,
                                      Status::overloaded};

}  // namespace

bool never_passes(Status status) noexcept { return kNever.contains(status); }

Outcome outcome_of(RetryKind kind, const Error& error) noexcept {
    if (error.effect) {
        return *error.effect;
    }
    switch (kind) {
        case RetryKind::connect:
            return Outcome::
                did_not_happen;  // it changes nothing, and a second connection does no harm
        case RetryKind::oneway:
        case RetryKind::offer:
        case RetryKind::publish:
            // Whatever fails here is not accepted; only a cut connection leaves it open.
            return error.status == Status::timed_out ? Outcome::did_not_happen
                                                     : describe(error.status).outcome;
        case RetryKind::call:
            break;
    }
    // Of a call through a bridge these may be the response's.
    return error.status == Status::out_of_memory || error.status == Status::message_too_large ||
                   error.status == Status::bad_request
               ? Outcome::may_have_happened
               : describe(error.status).outcome;
}

bool retryable(RetryKind kind,
               const Error& error,
               const RetryPolicy& policy,
               bool idempotent) noexcept {
    const StatusSet passes =
        policy.retry_on.value_or(kind == RetryKind::connect ? kPassesForConnect : kPasses);
    if (!passes.contains(error.status) || never_passes(error.status)) {
        return false;
    }
    // The one place that decides what may run twice. A request id alone does not: `idempotent` is set for it
    // only where the destination remembers its requests (Retrier::remembers).
    return outcome_of(kind, error) == Outcome::did_not_happen || idempotent;
}

Health health_of(RetryKind kind, Status status) noexcept {
    switch (status) {
        case Status::ok:
        case Status::handler_error:  // it answered
        case Status::queue_full:     // it is there; its consumers are slow
            return Health::good;
        case Status::peer_died:
        case Status::disconnected:
        case Status::overloaded:
        case Status::server_error:
            return Health::bad;
        case Status::timed_out:
            // Of an offer or publish: as queue_full.
            return kind == RetryKind::call ? Health::bad : Health::good;
        default:
            return Health::unknown;  // the caller's mistake or wish, or nobody there to be spared
    }
}

}  // namespace telpher::detail
