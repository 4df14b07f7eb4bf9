#pragma once
// The frames of the protocol (PROTOCOL.md): 24 bytes of header, then a body.
//
//   Threads  pure functions on the caller's memory
//   Errors   bytes from the wire are hostile: whatever they are, decoding answers with a Status
//   Cost     a header is copied once; no allocation but for the text of an error

#include "telpher/result.hpp"

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <type_traits>

namespace telpher::bridge {

static_assert(std::endian::native == std::endian::little,
              "the encoding is little-endian and copied as it is");

// What a client says before anything else: 't' of it tells a plain client from a TLS handshake (0x16).
inline constexpr std::string_view kPreface = "tlpherv1";
inline constexpr std::uint16_t kVersion = 1;

// The numbers travel: append only.
enum class FrameType : std::uint8_t {
    hello = 1,
    welcome = 2,
    refused = 3,
    heartbeat = 4,
    goodbye = 5,
    ack = 6,
    open = 8,
    close = 9,
    result = 10,
    cancel = 11,
    offer = 16,
    poll = 17,
    delivery = 18,
    confirm = 19,
    put_back = 20,
    watch = 21,
    lease = 22,
    gap = 23,
    publish = 24,
    subscribe = 25,
    sample = 26,
    credit = 27,
    unsubscribe = 28,
    end = 29,
    call = 32,
    response = 33,
    command = 40,
};
// Frames of unknown types that have this bit are passed over.
inline constexpr std::uint8_t kTypeOptional = 0x80;

inline constexpr std::uint8_t kFlagCompressed = 1;  // the body is a compressed part
inline constexpr std::uint8_t kFlagMore = 2;        // the body is a part, and more of it comes
inline constexpr std::uint8_t kFlagOneway = 4;      // a call without a response
inline constexpr std::uint8_t kFlagLeased = 8;      // a DELIVERY whose LEASE came before it
inline constexpr std::uint8_t kFlagsKnown = 15;

inline constexpr std::size_t kHeadBytes = 24;
inline constexpr std::size_t kBodyBytesMax = 64U << 10U;
// Pairs of numbers in one ACK.
inline constexpr std::size_t kAckRangesMax = 64;
// Before both sides know each other.
inline constexpr std::size_t kBodyBytesMaxEarly = 1024;

// The first 24 bytes of a frame, as they travel.
struct FrameHead {
    std::uint32_t length = 0;  // of the body
    FrameType type{};
    std::uint8_t flags = 0;
    std::uint16_t channel = 0;
    std::uint64_t correlation = 0;
    std::uint64_t argument = 0;
};
static_assert(sizeof(FrameHead) == kHeadBytes && std::is_trivially_copyable_v<FrameHead>);

// "OFFER", "DELIVERY", ...; "unknown" for other numbers.
[[nodiscard]] std::string_view to_string(FrameType type) noexcept;
// Whether the number is one of FrameType.
[[nodiscard]] bool is_known(FrameType type) noexcept;
// Whether its body is one message.
[[nodiscard]] bool carries_message(FrameType type) noexcept;

[[nodiscard]] inline std::array<std::byte, kHeadBytes> encode(const FrameHead& head) noexcept {
    return std::bit_cast<std::array<std::byte, kHeadBytes>>(head);
}

// `bytes` are at least kHeadBytes. Errors: bad_request, naming field, value and limit: a length above
// `body_bytes_max`, an unknown flag, an unknown type that is not optional.
[[nodiscard]] Result<FrameHead> decode_head(std::span<const std::byte> bytes,
                                            std::size_t body_bytes_max);

}  // namespace telpher::bridge
