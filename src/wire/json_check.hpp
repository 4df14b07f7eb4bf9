// Whether a text is JSON (RFC 8259), without building anything from it.
//
//   Accepts   any value at the top; UTF-8 without overlong forms; \u escapes whose surrogates pair
//   up Bounds    128 arrays and objects inside one another, so 16 bytes of memory whatever the text
//   Progress  one pass, no recursion, no allocation
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace telpher::wire {

struct JsonFault {
    // The numbers stay inside a process.
    enum class Reason : std::uint8_t {
        none,
        ends_early,
        unexpected_byte,
        bad_number,
        bad_escape,
        bare_control_character,
        not_utf8,
        too_deep,
        text_after_end,
    };

    Reason reason = Reason::none;
    std::size_t position = 0;  // of the byte that cannot stand there
};

// The first fault, or one with Reason::none.
[[nodiscard]] JsonFault check_json(std::string_view text) noexcept;

// "ends too early", "has a number that is none", ...: goes on from "payload is no JSON: the text ".
[[nodiscard]] std::string_view to_string(JsonFault::Reason reason) noexcept;

}  // namespace telpher::wire
