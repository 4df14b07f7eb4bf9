// Numbers with units as people write them: in options, and on the command line.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace telpher::wire {

struct Unit {
    std::string_view name;
    double factor;
};

// The number at the start of `text` times the factor of the unit at its end; nothing unless both
// are all of it, and the number is finite and has no sign.
[[nodiscard]] std::optional<double> parse_with_unit(std::string_view text,
                                                    std::span<const Unit> units);

// To the nearest integer; nothing for nothing, or beyond 63 bits.
[[nodiscard]] std::optional<std::int64_t> to_integer(std::optional<double> number);

// "512B", "1KB", "1.5MiB", "2GB" (KB and KiB are both 1024 bytes); nothing for any other text, or
// beyond 63 bits.
[[nodiscard]] std::optional<std::uint64_t> parse_size(std::string_view text);

// What options for sizes take: a size as above, a bare number of bytes ("1000"), or "-1" for off.
[[nodiscard]] std::optional<std::int64_t> parse_size_option(std::string_view text);

}  // namespace telpher::wire
