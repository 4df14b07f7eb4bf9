#include "telpher/lease.hpp"

#include <array>

namespace telpher {

std::string_view to_string(ReturnReason reason) noexcept {
    constexpr std::array<std::string_view, 9> kNames = {"none",
                                                        "nacked",
                                                        "consumer_died",
                                                        "lease_expired",
                                                        "unread",
                                                        "expired",
                                                        "rejected",
                                                        "too_many_deliveries",
                                                        "undeliverable"};
    const auto number = static_cast<std::size_t>(reason);
    return number < kNames.size() ? kNames[number] : "unknown";
}

std::string_view to_string(DeliveryMode mode) noexcept {
    return mode == DeliveryMode::at_most_once    ? "at_most_once"
           : mode == DeliveryMode::at_least_once ? "at_least_once"
                                                 : "unknown";
}

}  // namespace telpher
