#pragma once
// What a client may say about a message that it has leased (PROTOCOL.md, Commands: settle).

#include <cstdint>

namespace telpher::bridge {

// The numbers travel: append only.
enum class LeaseVerb : std::uint8_t { ack = 1, nack = 2, extend = 3, reject = 4 };

}  // namespace telpher::bridge
