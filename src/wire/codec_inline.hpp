// Definitions of src/wire/codec.hpp that lie on the path of every message. Include that file
// instead.
#pragma once

#include "src/wire/codec.hpp"

namespace telpher::wire {

namespace inner {

// Byte order of the header as five words: what is stored at once is never torn for a concurrent
// reader.
inline constexpr std::size_t kHeadWords = kHeadBytes / 8;
inline constexpr std::size_t kTimestampWord = 3;
using HeadWords = std::array<std::uint64_t, kHeadWords>;

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

// The header's words are put together in registers. Left alone, the compiler sees that neighbouring
// fields make up a word and loads them wide from where they were just stored narrow, which waits
// for the store buffer: 7 ns of an offer's 40.
[[gnu::always_inline]] inline void store_head(std::byte* out,
                                              const detail::MessageHead& head) noexcept {
    store_word(out,
               in_register(head.payload_bytes) | static_cast<std::uint64_t>(head.type) << 32U |
                   static_cast<std::uint64_t>(head.flags) << 40U |
                   static_cast<std::uint64_t>(head.status) << 48U |
                   static_cast<std::uint64_t>(head.content) << 56U);
    store_word(out + 8, head.id.prefix);
    store_word(out + 16, head.id.counter);
    store_word(out + kTimestampWord * 8, head.timestamp_ns);
    store_word(out + 32,
               in_register(head.expires_ms) | in_register(head.topic_bytes) << 32U |
                   in_register(head.extension_bytes) << 48U);
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

// Header words that the compiler must not read again: whoever shares the memory may change it
// meanwhile.
inline HeadWords load_head_once(const std::byte* bytes) noexcept {
    HeadWords words{};
    std::memcpy(words.data(), bytes, kHeadBytes);
    for (auto& word : words) {
        __asm__("" : "+r"(word));
    }
    return words;
}

// What is left of a life span that began at the message's own timestamp.
[[nodiscard]] std::uint32_t remaining_life_ms(const detail::MessageHead& head,
                                              std::uint64_t now_ns) noexcept;

// The checks of messages with an extension, a type or an own mimetype, and the texts of all errors.
[[nodiscard]] Result<MessageView> decode_rare(std::span<const std::byte> bytes,
                                              const detail::MessageHead& head);
[[nodiscard]] Error too_short(std::size_t bytes);

}  // namespace inner

namespace inner {

// By value and inline: the parts of a Message are made for this call, and stay in registers.
[[gnu::always_inline]] inline void encode_parts(detail::MessageParts parts,
                                                const Stamp& stamp,
                                                std::span<std::byte> out) noexcept {
    detail::MessageHead& head = parts.head;
    if (head.expires_ms != 0 && head.timestamp_ns != 0) [[unlikely]] {
        head.expires_ms = remaining_life_ms(head, stamp.timestamp_ns);
    }
    head.id = stamp.id;
    head.timestamp_ns = stamp.timestamp_ns;
    head.type = stamp.type == MessageType::null ? head.type : stamp.type;

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
    if (head.extension_bytes != 0) [[unlikely]] {
        std::memcpy(base + kHeadBytes, parts.extension, head.extension_bytes);
    }
    copy_short(base + kHeadBytes + head.extension_bytes, parts.topic, head.topic_bytes);
    store_head(base, head);
    if (head.payload_bytes != 0) {  // memcpy from nowhere is undefined even for no bytes
        std::memcpy(base + payload_at, parts.payload, head.payload_bytes);
    }
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
    if (bytes.size() < kHeadBytes) [[unlikely]] {
        return inner::too_short(bytes.size());
    }
    const auto head = std::bit_cast<detail::MessageHead>(inner::load_head_once(bytes.data()));
    const std::size_t payload_at = payload_offset(head);
    // The usual message: known small type, no flag but oneway and durable, one of the three usual
    // kinds of payload, no extension, and everything inside the buffer.
    const bool usual = head.extension_bytes == 0 && head.type <= MessageType::response &&
                       (head.flags & ~(detail::kFlagOneway | detail::kFlagDurable)) == 0 &&
                       head.content <= detail::kContentJson && payload_at <= bytes.size() &&
                       head.payload_bytes <= bytes.size() - payload_at;
    if (!usual) [[unlikely]] {
        return inner::decode_rare(bytes, head);
    }
    const auto* texts = reinterpret_cast<const char*>(bytes.data() + kHeadBytes);
    return MessageView{detail::MessageParts{head, texts, texts, bytes.data() + payload_at}};
}

}  // namespace telpher::wire
