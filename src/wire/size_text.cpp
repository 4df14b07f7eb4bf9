#include "src/wire/size_text.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <system_error>

namespace telpher::wire {

namespace {

constexpr std::array kSizeUnits{Unit{"B", 1},
                                Unit{"KB", 1024},
                                Unit{"KiB", 1024},
                                Unit{"MB", 1024.0 * 1024},
                                Unit{"MiB", 1024.0 * 1024},
                                Unit{"GB", 1024.0 * 1024 * 1024},
                                Unit{"GiB", 1024.0 * 1024 * 1024}};

}  // namespace

std::optional<double> parse_with_unit(std::string_view text, std::span<const Unit> units) {
    double number = 0;
    const auto* const end = text.data() + text.size();
    const auto parsed = std::from_chars(text.data(), end, number, std::chars_format::fixed);
    if (parsed.ec != std::errc{} || !std::isfinite(number) || std::signbit(number)) {
        return std::nullopt;
    }
    const std::string_view name(parsed.ptr, static_cast<std::size_t>(end - parsed.ptr));
    const auto unit = std::find_if(units.begin(), units.end(), [name](const Unit& candidate) {
        return candidate.name == name;
    });
    if (unit == units.end()) {
        return std::nullopt;
    }
    return number * unit->factor;
}

std::optional<std::int64_t> to_integer(std::optional<double> number) {
    constexpr double kLimit =
        0x1p63;  // exact as a double, its predecessor is not: hence "less than"
    if (!number || *number >= kLimit) {
        return std::nullopt;
    }
    return static_cast<std::int64_t>(*number + 0.5 < kLimit ? *number + 0.5 : *number);
}

std::optional<std::uint64_t> parse_size(std::string_view text) {
    const auto count = to_integer(parse_with_unit(text, kSizeUnits));
    return count ? std::optional{static_cast<std::uint64_t>(*count)} : std::nullopt;
}

std::optional<std::int64_t> parse_size_option(std::string_view text) {
    if (text == "-1") {
        return -1;
    }
    // Bare numbers as integers: a double would round those beyond 2^53.
    std::int64_t bytes = 0;
    const auto* const end = text.data() + text.size();
    const auto parsed = std::from_chars(text.data(), end, bytes);
    if (parsed.ec == std::errc{} && parsed.ptr == end) {
        return bytes >= 0 && text.front() != '-' ? std::optional{bytes} : std::nullopt;
    }
    return to_integer(parse_with_unit(text, kSizeUnits));
}

}  // namespace telpher::wire
