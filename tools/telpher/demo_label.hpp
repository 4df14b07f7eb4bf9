// What an order of the demo carries beside its text, as correlation id.
#pragma once

#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace telpher::cli {

// The order's number, when it was offered, its total.
struct Label {
    std::array<std::uint64_t, 3> numbers{};

    [[nodiscard]] std::string_view write(std::array<char, 80>& text) const {
        char* end = text.data();
        for (const auto number : numbers) {
            end = std::to_chars(end, text.data() + text.size(), number).ptr;
            *end++ = ' ';
        }
        return {text.data(), static_cast<std::size_t>(end - text.data()) - 1};
    }

    static std::optional<Label> read(std::string_view text) {
        Label label;
        const char* at = text.data();
        for (auto& number : label.numbers) {
            const auto parsed = std::from_chars(at, text.data() + text.size(), number);
            if (parsed.ec != std::errc{}) {
                return std::nullopt;
            }
            at = parsed.ptr + 1;
        }
        return label;
    }
};

}  // namespace telpher::cli
