// What a RetryPolicy may say.

#include "telpher/retry.hpp"

#include "src/client/retry_rules.hpp"
#include "src/wire/option_text.hpp"

#include <cmath>
#include <string>

namespace telpher {
namespace {

using namespace std::chrono_literals;

constexpr std::uint32_t kAttemptsMax = 1000;
constexpr Duration kWaitMost = 24h;
constexpr Duration kDeadlineMost = 24h * 365;
constexpr double kFactorMax = 100;
constexpr std::uint32_t kBurstMax = 1000;
constexpr std::uint32_t kFailuresMost = 1'000'000;

Error wrong(const std::string& field, const std::string& value, const std::string& allowed) {
    return wire::option_out_of_range("retry." + field, value, allowed);
}

Result<void> check_count(const char* field,
                         std::uint32_t value,
                         std::uint32_t least,
                         std::uint32_t most) {
    if (value >= least && value <= most) {
        return {};
    }
    return wrong(field, std::to_string(value), std::to_string(least) + ".." + std::to_string(most));
}

Result<void> check_time(const char* field, Duration value, Duration least, Duration most) {
    if (value >= least && value <= most) {
        return {};
    }
    return wrong(field,
                 std::to_string(value.count()) + " ns",
                 std::to_string(least.count()) + ".." + std::to_string(most.count()) + " ns");
}

// NaN is in no range.
Result<void> check_number(const char* field, double value, double least, double most) {
    if (value >= least && value <= most) {
        return {};
    }
    return wrong(
        field, wire::number_text(value), wire::number_text(least) + ".." + wire::number_text(most));
}

Result<void> check_waits(const RetryPolicy& policy) {
    if (auto sound = check_count("attempts_max", policy.attempts_max, 1, kAttemptsMax); !sound) {
        return sound;
    }
    if (auto sound = check_time("base", policy.base, 1ns, kWaitMost); !sound) {
        return sound;
    }
    if (auto sound = check_number("factor", policy.factor, 1, kFactorMax); !sound) {
        return sound;
    }
    if (auto sound = check_time("cap", policy.cap, policy.base, kWaitMost); !sound) {
        return sound;
    }
    if (policy.jitter > Jitter::range) {
        return wrong("jitter",
                     std::to_string(static_cast<unsigned>(policy.jitter)),
                     "none (0), full (1), equal (2), decorrelated (3) and range (4)");
    }
    if (policy.jitter == Jitter::range) {
        if (auto sound = check_number("range_high", policy.range_high, 0, kFactorMax); !sound) {
            return sound;
        }
        if (auto sound = check_number("range_low", policy.range_low, 0, policy.range_high);
            !sound) {
            return sound;
        }
    }
    return check_time("deadline", policy.deadline, 1ns, kDeadlineMost);
}

}  // namespace

Result<void> RetryPolicy::check() const {
    if (auto sound = check_waits(*this); !sound) {
        return sound;
    }
    if (budget) {
        if (auto sound = check_number("budget.ratio", budget->ratio, 0, 1); !sound) {
            return sound;
        }
        if (auto sound = check_count("budget.burst", budget->burst, 1, kBurstMax); !sound) {
            return sound;
        }
    }
    if (breaker) {
        if (auto sound =
                check_count("breaker.failures_max", breaker->failures_max, 1, kFailuresMost);
            !sound) {
            return sound;
        }
        if (auto sound = check_time("breaker.open_for", breaker->open_for, 1ns, kWaitMost);
            !sound) {
            return sound;
        }
    }
    for (const StatusInfo& info : all_statuses()) {
        if (retry_on && retry_on->contains(info.status) && detail::never_passes(info.status)) {
            return Error{Status::bad_request,
                         0,
                         "retry.retry_on has " + std::string(info.name) +
                             ", allowed are statuses that a retry may change"};
        }
    }
    return {};
}

std::string_view to_string(RetryEnd end) noexcept {
    switch (end) {
        case RetryEnd::succeeded:
            return "succeeded";
        case RetryEnd::not_retryable:
            return "not_retryable";
        case RetryEnd::attempts:
            return "attempts";
        case RetryEnd::deadline:
            return "deadline";
        case RetryEnd::budget:
            return "budget";
        case RetryEnd::breaker:
            return "breaker";
        case RetryEnd::chain:
            return "chain";
        case RetryEnd::cancelled:
            return "cancelled";
    }
    return "unknown";
}

}  // namespace telpher
