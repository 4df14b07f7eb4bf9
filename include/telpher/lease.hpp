#pragma once
// What a queue does with a message that somebody has polled: gives it away, or lends it.

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace telpher {

// Fixed when a queue is made.
enum class DeliveryMode : std::uint8_t {
    // A poll takes the message. Whoever dies with it has lost it; that is counted.
    at_most_once = 0,
    // A poll lends it: the message comes back unless its consumer acknowledges it in time. Nothing is
    // lost; what was handled by a consumer that died before it could say so is handled again.
    at_least_once = 1
};

// Why a message is handed out again, or why it is among the dead letters. Numbers lie in shared memory
// and travel on the wire: append only.
enum class ReturnReason : std::uint8_t {
    none = 0,           // it was not
    nacked = 1,         // its consumer gave it back
    consumer_died = 2,  // its consumer's process was killed, or ended without an answer
    lease_expired = 3,  // its consumer said nothing for longer than its lease
    unread = 4,         // it was fetched for somebody who had gone; not counted as delivered
    expired = 5,        // its own time had passed (dead letters)
    rejected = 6,  // its consumer refused it, or a one-way request's handler failed (dead letters)
    too_many_deliveries = 7,  // it was delivered `deliveries_max` times in vain (dead letters)
    undeliverable = 8,  // a one-way request whose function ended before its turn (dead letters)
};

// The name in the enumeration; "unknown" for a number that this version does not know.
[[nodiscard]] std::string_view to_string(ReturnReason reason) noexcept;
[[nodiscard]] std::string_view to_string(DeliveryMode mode) noexcept;

// What a dead letter tells about its death.
struct DeadLetter {
    ReturnReason reason = ReturnReason::none;
    // The queue, or the function, it came from ("*": the one without a name); empty if that was removed or
    // ended since. A function's letter is a request: its type() says so.
    std::string origin{};
    std::chrono::system_clock::time_point time{};
};

}  // namespace telpher
