#include "tools/telpher/units.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <span>
#include <system_error>

namespace telpher::cli {

namespace {

struct Unit {
    std::string_view name;
    double factor;
};

constexpr std::array kDurationUnits{Unit{"ns", 1},
                                    Unit{"us", 1e3},
                                    Unit{"ms", 1e6},
                                    Unit{"s", 1e9},
                                    Unit{"m", 60e9},
                                    Unit{"min", 60e9},
                                    Unit{"h", 3600e9}};
constexpr std::array kSizeUnits{Unit{"B", 1},
                                Unit{"KB", 1024},
                                Unit{"KiB", 1024},
                                Unit{"MB", 1024.0 * 1024},
                                Unit{"MiB", 1024.0 * 1024},
                                Unit{"GB", 1024.0 * 1024 * 1024},
                                Unit{"GiB", 1024.0 * 1024 * 1024}};
constexpr std::array kRateUnits{Unit{"/s", 1}, Unit{"/m", 1.0 / 60}, Unit{"/min", 1.0 / 60}};

// The number at the start of `text` in the unit at its end; nothing unless both are all of it.
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

template <typename... Arguments>
std::string print(const char* format, Arguments... arguments) {
    std::array<char, 64> text{};
    const int length = std::snprintf(text.data(), text.size(), format, arguments...);
    return std::string(text.data(), static_cast<std::size_t>(std::max(length, 0)));
}

}  // namespace

std::optional<std::chrono::nanoseconds> parse_duration(std::string_view text) {
    if (text == "0") {
        return std::chrono::nanoseconds{0};
    }
    const auto count = to_integer(parse_with_unit(text, kDurationUnits));
    return count ? std::optional{std::chrono::nanoseconds{*count}} : std::nullopt;
}

std::optional<std::uint64_t> parse_size(std::string_view text) {
    const auto count = to_integer(parse_with_unit(text, kSizeUnits));
    return count ? std::optional{static_cast<std::uint64_t>(*count)} : std::nullopt;
}

std::optional<double> parse_rate(std::string_view text) {
    const auto rate = parse_with_unit(text, kRateUnits);
    return rate && *rate > 0 ? rate : std::nullopt;
}

std::string format_duration(std::chrono::nanoseconds duration) {
    const auto count = duration.count();
    const auto value = static_cast<double>(count);
    if (count < 1'000) {
        return print("%lld ns", static_cast<long long>(count));
    }
    // Three digits: 999.6 would be printed as 1e+03, so it already counts in the next unit.
    if (count < 999'500) {
        return print("%.3g us", value / 1e3);
    }
    if (count < 999'500'000) {
        return print("%.3g ms", value / 1e6);
    }
    const long long seconds = count / 1'000'000'000;
    if (seconds < 60) {  // "%.3g" says 60 for 59.96, and that is fine
        return print("%.3g s", value / 1e9);
    }
    if (seconds < 3'600) {
        return print("%lldm %llds", seconds / 60, seconds % 60);
    }
    if (seconds < 86'400) {
        return print("%lldh %lldm", seconds / 3'600, seconds / 60 % 60);
    }
    return print("%lldd %lldh", seconds / 86'400, seconds / 3'600 % 24);
}

std::string format_size(std::uint64_t bytes) {
    constexpr std::array kNames{"KiB", "MiB", "GiB", "TiB"};
    if (bytes < 1024) {
        return print("%llu B", static_cast<unsigned long long>(bytes));
    }
    double value = static_cast<double>(bytes) / 1024;
    std::size_t index = 0;
    while (value >= 1024 && index + 1 < kNames.size()) {
        value /= 1024;
        ++index;
    }
    const bool whole = value == std::floor(value);
    return print(whole ? "%.0f %s" : "%.1f %s", value, kNames.at(index));
}

std::string format_count(std::uint64_t count) {
    std::string digits = std::to_string(count);
    for (std::size_t place = digits.size(); place > 3; place -= 3) {
        digits.insert(place - 3, 1, ',');
    }
    return digits;
}

}  // namespace telpher::cli
