// Definitions of src/wire/codec.hpp that lie on the path of every message. Include that file
// instead.
#pragma once

#include "src/wire/codec.hpp"

namespace telpher::wire {

namespace inner {

inline void store_word(std::byte* at, std::uint64_t word) noexcept {
    // relaxed: a status reader may look at any time and must see an old or a new word, no mixture;
    // what publishes the message to its reader is the release of the chunk's word.
    std::atomic_ref<std::uint64_t>(*reinterpret_cast<std::uint64_t*>(at))
        .store(word, std::memory_order_relaxed);
}

// A value in a register, whatever the compiler knows about where it came from.
[[gnu::always_inline]] inline std::uint64_t in_register(std::uint64_t value) noexcept {
    __asm__("" : "+r"(value));
    return value;
}

// The header's words of several fields are put together in registers. Left alone, the compiler sees
// that neighbouring fields make up a word and loads them wide from where they were just stored
// narrow, which waits for the store buffer: 7 ns of an offer's 40.
[[gnu::always_inline]] inline std::uint64_t kind_word(const detail::MessageHead& head) noexcept {
    return in_register(head.payload_bytes) | static_cast<std::uint64_t>(head.type) << 32U |
           std::uint64_t{head.flags} << 40U | static_cast<std::uint64_t>(head.status) << 48U |
           std::uint64_t{head.content} << 56U;
}
[[gnu::always_inline]] inline std::uint64_t lengths_word(const detail::MessageHead& head) noexcept {
    return in_register(head.expires_ms) | in_register(head.topic_bytes) << 32U |
           in_register(head.extension_bytes) << 48U;
}

// All of the header but its kind; the id word by word, because the caller has just made it in two
// stores.
inline void store_stamp(std::byte* out, const Stamp& stamp, std::uint64_t lengths) noexcept {
    store_word(out + offsetof(detail::MessageHead, id), stamp.id.prefix);
    store_word(out + offsetof(detail::MessageHead, id) + 8, stamp.id.counter);
    store_word(out + offsetof(detail::MessageHead, timestamp_ns), stamp.timestamp_ns);
    store_word(out + offsetof(detail::MessageHead, expires_ms), lengths);
}

// memcpy for texts of a few bytes: two loads that overlap instead of a call.
inline void copy_short(std::byte* to, const char* from, std::size_t bytes) noexcept {
    if (bytes > 16) [[unlikely]] {
        std::memcpy(to, from, bytes);
    } else if (bytes >= 8) {
        std::uint64_t head = 0;
        std::uint64_t tail = 0;
        std::memcpy(&head, from, 8);
        std::memcpy(&tail, from + bytes - 8, 8);
        std::memcpy(to, &head, 8);
        std::memcpy(to + bytes - 8, &tail, 8);
    } else if (bytes >= 4) {
        std::uint32_t head = 0;
        std::uint32_t tail = 0;
        std::memcpy(&head, from, 4);
        std::memcpy(&tail, from + bytes - 4, 4);
        std::memcpy(to, &head, 4);
        std::memcpy(to + bytes - 4, &tail, 4);
    } else {
        for (std::size_t i = 0; i < bytes; ++i) {
            to[i] = static_cast<std::byte>(from[i]);
        }
    }
}

// memcpy without the call for payloads of a few vectors; a null `from` goes with 0 bytes.
inline void copy_payload(std::byte* to, const std::byte* from, std::size_t bytes) noexcept {
    constexpr std::size_t kBlock = 16;
    constexpr std::size_t kInlineMax = 8 * kBlock;
    if (bytes < kBlock) {
        copy_short(to, reinterpret_cast<const char*>(from), bytes);
    } else if (bytes > kInlineMax) {
        std::memcpy(to, from, bytes);
    } else {
        for (std::size_t at = 0; at + kBlock < bytes; at += kBlock) {
            std::memcpy(to + at, from + at, kBlock);
        }
        std::memcpy(to + bytes - kBlock, from + bytes - kBlock, kBlock);
    }
}

// What is left of a life span of `expires_ms` that began at `timestamp_ns`.
[[nodiscard]] std::uint32_t remaining_life_ms(std::uint64_t timestamp_ns,
                                              std::uint32_t expires_ms,
                                              std::uint64_t now_ns) noexcept;

// The checks of all that decode_in_place does not take, and the texts of all errors.
[[nodiscard]] Result<MessageView> decode_rare(std::span<const std::byte> bytes);

// By value and inline: the parts of a Message are made for this call, and stay in registers.
[[gnu::always_inline]] inline void encode_parts(detail::MessageParts parts,
                                                const Stamp& stamp,
                                                std::span<std::byte> out) noexcept {
    detail::MessageHead& head = parts.head;
    if (stamp.type != MessageType::null) {
        head.type = stamp.type;
    }
    const std::uint64_t kind = kind_word(head);
    if (head.expires_ms != 0 && head.timestamp_ns != 0) [[unlikely]] {
        head.expires_ms = remaining_life_ms(head.timestamp_ns, head.expires_ms, stamp.timestamp_ns);
    }
    const std::size_t texts_end = kHeadBytes + head.extension_bytes + head.topic_bytes;
    const std::size_t payload_at = payload_offset(head);
    assert(out.size() >= payload_at + head.payload_bytes);
    assert(reinterpret_cast<std::uintptr_t>(out.data()) % 8 == 0);

    std::byte* const base = out.data();
    if (payload_at - texts_end > 8) [[unlikely]] {
        std::memset(base + texts_end, 0, payload_at - texts_end);
    }
    // The padding first, as one word of which the texts and the header then overwrite their part.
    std::memset(base + payload_at - 8, 0, 8);
    store_word(base, kind);
    store_stamp(base, stamp, lengths_word(head));
    if (head.extension_bytes != 0) [[unlikely]] {
        std::memcpy(base + kHeadBytes, parts.extension, head.extension_bytes);
    }
    copy_short(base + kHeadBytes + head.extension_bytes, parts.topic, head.topic_bytes);
    copy_payload(base + payload_at, parts.payload, head.payload_bytes);
}

}  // namespace inner

inline void encode(const MessageView& message,
                   const Stamp& stamp,
                   std::span<std::byte> out) noexcept {
    inner::encode_parts(message.parts(), stamp, out);
}
inline void encode(const Message& message, const Stamp& stamp, std::span<std::byte> out) noexcept {
    inner::encode_parts(message.parts(), stamp, out);
}

// The fast half of `decode`: looks at a usual message and puts it into `view` in place. False: not
// usual, ask `decode`; `view` is then unspecified.
inline bool decode_in_place(std::span<const std::byte> bytes, MessageView& view) noexcept {
    detail::MessageParts& parts = view.parts_;
    if (bytes.size() < kHeadBytes) [[unlikely]] {
        return false;
    }
    // Straight into its final place, and not read from the shared bytes again.
    std::memcpy(&parts.head, bytes.data(), kHeadBytes);
    __asm__("" : "+m"(parts.head));
    const detail::MessageHead& head = parts.head;
    const std::size_t payload_at = payload_offset(kHeadBytes + head.topic_bytes, false);
    const bool usual = head.extension_bytes == 0 && head.type <= MessageType::response &&
                       (head.flags & ~(detail::kFlagOneway | detail::kFlagDurable)) == 0 &&
                       head.content <= detail::kContentJson && payload_at <= bytes.size() &&
                       head.payload_bytes <= bytes.size() - payload_at;
    parts.topic = reinterpret_cast<const char*>(bytes.data() + kHeadBytes);
    parts.extension = parts.topic;
    parts.payload = bytes.data() + payload_at;
    return usual;
}

inline Result<MessageView> decode(std::span<const std::byte> bytes) {
    // Filled in its place: a view is a cache line, and a copy of what was just written in other
    // pieces would wait for the store buffer.
    Result<MessageView> result{MessageView{}};
    if (!decode_in_place(bytes, *result)) [[unlikely]] {
        result = inner::decode_rare(bytes);
    }
    return result;
}

}  // namespace telpher::wire
