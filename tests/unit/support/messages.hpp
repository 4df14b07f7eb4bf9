#pragma once
// Messages and handlers that many tests need and none is about.

#include "telpher/message.hpp"
#include "telpher/result.hpp"

#include <cstddef>
#include <span>
#include <string_view>

namespace telpher::test {

inline Message order(std::string_view text = "2 espressos") { return Message::text("order", text); }
inline Message note(std::string_view text) { return Message::text("t", text); }
inline std::span<const std::byte> payload_of(std::string_view text) {
    return std::as_bytes(std::span(text));
}
inline Result<Message> echo(const Message& request) { return request; }

}  // namespace telpher::test
