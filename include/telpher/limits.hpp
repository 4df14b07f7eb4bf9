// The limits of a message's fields. They are checked where a message is built (Message::check) and
// again where names are used; the limits of a domain (queues, memory, ...) are in options.hpp.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>

namespace telpher::limits {

// Names of domains, queues, functions and topics, and the topic (label) of a message.
inline constexpr std::size_t kNameBytesMax = 100;

inline constexpr std::size_t kRequestIdBytesMax = 255;
inline constexpr std::size_t kCorrelationIdBytesMax = 255;
inline constexpr std::size_t kCausationIdBytesMax = 255;
inline constexpr std::size_t kTraceparentBytesMax = 55;  // version 00 of the W3C trace context
inline constexpr std::size_t kMimetypeBytesMax = 127;
inline constexpr std::size_t kCharsetBytesMax = 40;

// All rare fields of a message together, as they are encoded. More than the fields above can need.
inline constexpr std::size_t kExtensionBytesMax = 4096;

// The size of a whole message is limited per domain; this is the range and the default of that
// limit.
inline constexpr std::size_t kMessageBytesMaxLowest = std::size_t{2} << 10;
inline constexpr std::size_t kMessageBytesMaxDefault = std::size_t{20} << 20;
inline constexpr std::size_t kMessageBytesMaxHighest = std::size_t{250} << 20;

// Expiry, timeout and delay travel as milliseconds in 32 bits, which is a little more than 49 days.
inline constexpr std::chrono::milliseconds kExpiresInMin{1};
inline constexpr std::chrono::milliseconds kExpiresInMax = std::chrono::hours{49 * 24};
inline constexpr std::chrono::milliseconds kTimeoutMax = std::chrono::hours{49 * 24};
inline constexpr std::chrono::milliseconds kDelayMax = std::chrono::hours{49 * 24};
// How long who is overloaded may ask others to wait (Error::retry_after).
inline constexpr std::chrono::milliseconds kRetryAfterMax = std::chrono::hours{24};
static_assert(kExpiresInMax.count() <= std::numeric_limits<std::uint32_t>::max());

// Arrays and objects inside one another in a JSON payload: bounds the checker's memory.
inline constexpr std::size_t kJsonDepthMax = 128;

}  // namespace telpher::limits
