// One step through UTF-8 that may be damaged.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace telpher::wire {

// The bytes of the character at the start of `text` (1..4), or 0 if no valid one stands there:
// neither overlong forms nor surrogates nor values above U+10FFFF are valid.
[[nodiscard]] inline std::size_t utf8_character_bytes(std::string_view text) noexcept {
    const auto byte = [text](std::size_t at) { return static_cast<std::uint8_t>(text[at]); };
    const auto follows = [&](std::size_t at) { return (byte(at) & 0xC0U) == 0x80; };
    if (text.empty()) {
        return 0;
    }
    const std::uint8_t lead = byte(0);
    if (lead < 0x80) {
        return 1;
    }
    if (lead >= 0xC2 && lead <= 0xDF) {
        return text.size() >= 2 && follows(1) ? 2 : 0;
    }
    if ((lead & 0xF0U) == 0xE0) {
        const std::uint8_t lowest = lead == 0xE0 ? 0xA0 : 0x80;
        const std::uint8_t highest = lead == 0xED ? 0x9F : 0xBF;
        const bool valid =
            text.size() >= 3 && byte(1) >= lowest && byte(1) <= highest && follows(2);
        return valid ? 3 : 0;
    }
    if (lead >= 0xF0 && lead <= 0xF4) {
        const std::uint8_t lowest = lead == 0xF0 ? 0x90 : 0x80;
        const std::uint8_t highest = lead == 0xF4 ? 0x8F : 0xBF;
        const bool valid =
            text.size() >= 4 && byte(1) >= lowest && byte(1) <= highest && follows(2) && follows(3);
        return valid ? 4 : 0;
    }
    return 0;
}

}  // namespace telpher::wire
