// The limits of a message's fields, in one table, and the texts of their violations.
#pragma once

#include "telpher/message.hpp"
#include "telpher/result.hpp"

#include <chrono>
#include <cstdint>
#include <string_view>

namespace telpher::wire {

enum class CheckedField : std::uint8_t {
    topic,
    request_id,
    reply_to,
    destination,
    correlation_id,
    causation_id,
    traceparent,
    mimetype,
    charset,
    payload,
    expires_in,
    timeout,
    delay,
};

// The violation by a text field, or one with Rule::none.
[[nodiscard]] detail::Violation check_text(CheckedField field, std::string_view text) noexcept;
// The same for a payload's length (before anything is copied), its JSON form, and for a duration.
[[nodiscard]] detail::Violation check_payload_bytes(std::size_t bytes) noexcept;
[[nodiscard]] detail::Violation check_payload_json(std::string_view text) noexcept;
[[nodiscard]] detail::Violation check_duration(CheckedField field,
                                               std::chrono::milliseconds duration) noexcept;

// bad_request, or message_too_large for a payload; names field, limit and value.
[[nodiscard]] Error to_error(const detail::Violation& violation);

// bad_request for a delayed message that `what` cannot delay.
[[nodiscard]] Error delay_refused(std::string_view what);

// For whoever knows the domain's limit: message_too_large with both numbers.
[[nodiscard]] Error message_too_large(std::size_t message_bytes, std::size_t limit_bytes);

}  // namespace telpher::wire
