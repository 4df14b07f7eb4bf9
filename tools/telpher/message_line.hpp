// A message as commands print it: one line.
#pragma once

#include "telpher/message_view.hpp"

#include <chrono>
#include <cstdint>
#include <string>

namespace telpher::cli {

// A time of the wall clock as JSON has it, as "timestamp": milliseconds since the epoch.
[[nodiscard]] inline std::int64_t wall_ms(std::chrono::system_clock::time_point time) {
    return std::chrono::duration_cast<std::chrono::milliseconds>(time.time_since_epoch()).count();
}

// The payload alone, as it is.
template <typename AnyMessage>
[[nodiscard]] std::string payload_line(const AnyMessage& message) {
    const auto payload = message.payload();
    std::string line(reinterpret_cast<const char*>(payload.data()), payload.size());
    return line += '\n';
}

// The whole message as one JSON object that begins with `own`: members, each with its comma, that
// belong to the place of the message and not to the message.
template <typename AnyMessage>
[[nodiscard]] std::string json_line(const AnyMessage& message, const std::string& own = {}) {
    std::string object = message.to_json();
    return object.insert(1, own) += '\n';
}

}  // namespace telpher::cli
