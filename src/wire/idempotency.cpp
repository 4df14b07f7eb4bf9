#include "telpher/idempotency.hpp"

namespace telpher {

std::string_view to_string(IdempotencyScope scope) noexcept {
    switch (scope) {
        case IdempotencyScope::principal:
            return "principal";
        case IdempotencyScope::client:
            return "client";
        case IdempotencyScope::global:
            return "global";
    }
    return "unknown";
}

std::string_view to_string(WhenFull policy) noexcept {
    switch (policy) {
        case WhenFull::reject:
            return "reject";
        case WhenFull::evict_oldest:
            return "evict_oldest";
    }
    return "unknown";
}

std::string_view to_string(WhenUncertain policy) noexcept {
    switch (policy) {
        case WhenUncertain::report:
            return "report";
        case WhenUncertain::rerun:
            return "rerun";
    }
    return "unknown";
}

}  // namespace telpher
