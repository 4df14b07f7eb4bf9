// The one encoding of a message: the same bytes in a shared-memory chunk and on a connection.
//
//   Offsets    here are message offsets; the chunk offset (shm/FORMAT.md) is 16 more, because a
//              chunk begins with 16 bytes of its own. The chunk is 64-byte aligned: payloads are
//              aligned in the chunk.
//   Threads    pure functions on the caller's memory
//   Progress   no lock, no system call; no allocation except for the text of an error
//   Crash      bytes only: what they mean is decided by the chunk's word, not here
#pragma once

#include "telpher/message.hpp"
#include "telpher/result.hpp"

#include <atomic>
#include <bit>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>

namespace telpher::wire {

static_assert(std::endian::native == std::endian::little,
              "the encoding is little-endian and copied as it is");

inline constexpr std::size_t kHeadBytes = sizeof(detail::MessageHead);
inline constexpr std::size_t kChunkPrefixBytes = 16;

// What the runtime adds to a message when it is sent.
struct Stamp {
    MessageId id{};
    std::uint64_t timestamp_ns = 0;        // wall clock, since the epoch
    MessageType type = MessageType::null;  // null = as the message says
};

// A message to be written in place: everything but the payload's bytes.
struct LoanPlan {
    std::string_view topic{};
    std::uint8_t content = detail::kContentBinary;  // kContentBinary, kContentText or kContentJson
    std::size_t payload_bytes = 0;                  // the most that will be used
    std::optional<TypeTag> type{};                  // for typed loans
    bool aligned64 = false;  // the payload starts on a cache line of the chunk
};

// Payloads from here on begin on a cache line.
inline constexpr std::size_t kAlignedFrom = 4096;

// The message offset of the payload behind `before` bytes (header, extension, topic).
[[nodiscard]] constexpr std::size_t payload_offset(std::size_t before, bool aligned64) noexcept {
    return aligned64 ? ((before + kChunkPrefixBytes + 63) & ~std::size_t{63}) - kChunkPrefixBytes
                     : (before + 7) & ~std::size_t{7};
}
[[nodiscard]] inline std::size_t payload_offset(const detail::MessageHead& head) noexcept {
    return payload_offset(kHeadBytes + head.topic_bytes + head.extension_bytes,
                          (head.flags & detail::kFlagAligned64) != 0);
}

// Bytes of the encoded message: header, extension, topic, padding and payload.
[[nodiscard]] inline std::size_t encoded_bytes(const MessageView& message) noexcept {
    return payload_offset(message.head()) + message.head().payload_bytes;
}
[[nodiscard]] inline std::size_t encoded_bytes(const Message& message) noexcept {
    const detail::MessageParts parts = message.parts();
    return payload_offset(parts.head) + parts.head.payload_bytes;
}
[[nodiscard]] std::size_t encoded_bytes(const LoanPlan& plan) noexcept;

// Writes the message, with the stamp's id and timestamp in place of its own. A life span that began
// with an earlier timestamp (a message that was polled and is passed on) keeps its end, to the
// millisecond.
//   out   at least encoded_bytes(message), starting on a multiple of 8
inline void encode(const MessageView& message,
                   const Stamp& stamp,
                   std::span<std::byte> out) noexcept;
inline void encode(const Message& message, const Stamp& stamp, std::span<std::byte> out) noexcept;

// Writes all but the payload's bytes; id, timestamp and the final length come with stamp_loan.
//   out      at least encoded_bytes(plan), starting on a multiple of 8
//   returns  the message offset of the payload
std::size_t encode_loan(const LoanPlan& plan, std::span<std::byte> out) noexcept;

// Finishes a loan before it is offered. `payload_bytes_used` must not exceed the planned length.
void stamp_loan(std::span<std::byte> out,
                const Stamp& stamp,
                std::size_t payload_bytes_used) noexcept;

// Looks at a message at the start of `bytes`, which may hold more behind it (size_bytes() tells)
// and may be hostile: the header is copied once and every length is checked against `bytes`.
//   errors  corrupt, with a text naming field, limit and value
[[nodiscard]] inline Result<MessageView> decode(std::span<const std::byte> bytes);

// As decode for the usual message, without a copy of the view; false: ask `decode`.
[[nodiscard]] inline bool decode_in_place(std::span<const std::byte> bytes,
                                          MessageView& view) noexcept;

}  // namespace telpher::wire

#include "src/wire/codec_inline.hpp"
