#pragma once
// What travels: bytes whose every cache line says which message it belongs to.

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace telpher::bench {

inline constexpr std::size_t kLineBytes = 64;
inline constexpr std::uint64_t kTorn = ~0ULL;

// A sender's private payload of kBytes. `number` changes one word in each line; the transport
// copies all.
template <std::size_t kBytes>
struct alignas(64) Payload {
    static_assert(kBytes % kLineBytes == 0);
    static constexpr std::size_t kWordsPerLine = kLineBytes / sizeof(std::uint64_t);

    void number(std::uint64_t sequence) noexcept {
        for (std::size_t i = 0; i < words.size(); i += kWordsPerLine) {
            words[i] = sequence;
        }
    }
    [[nodiscard]] std::span<const std::byte> bytes() const noexcept {
        return std::as_bytes(std::span(words));
    }

    std::array<std::uint64_t, kBytes / sizeof(std::uint64_t)> words{};
};

// Reads one word of every cache line of a received payload: its sequence, or kTorn if they differ.
inline std::uint64_t sequence_of(std::span<const std::byte> payload) noexcept {
    std::uint64_t first = kTorn;
    bool torn = false;
    for (std::size_t offset = 0; offset < payload.size(); offset += kLineBytes) {
        std::uint64_t word = 0;
        std::memcpy(&word, payload.data() + offset, sizeof(word));
        if (offset == 0) {
            first = word;
        }
        torn = torn || word != first;
    }
    return torn ? kTorn : first;
}

}  // namespace telpher::bench
