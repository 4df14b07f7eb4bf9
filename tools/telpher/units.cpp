#include "tools/telpher/units.hpp"

#include "src/wire/size_text.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <ctime>

namespace telpher::cli {

namespace {

using wire::to_integer;
using wire::Unit;

constexpr std::array kDurationUnits{Unit{"ns", 1},
                                    Unit{"us", 1e3},
                                    Unit{"ms", 1e6},
                                    Unit{"s", 1e9},
                                    Unit{"m", 60e9},
                                    Unit{"min", 60e9},
                                    Unit{"h", 3600e9}};
constexpr std::array kRateUnits{Unit{"/s", 1}, Unit{"/m", 1.0 / 60}, Unit{"/min", 1.0 / 60}};

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
    const auto count = to_integer(wire::parse_with_unit(text, kDurationUnits));
    return count ? std::optional{std::chrono::nanoseconds{*count}} : std::nullopt;
}

std::optional<std::uint64_t> parse_size(std::string_view text) { return wire::parse_size(text); }

std::optional<double> parse_rate(std::string_view text) {
    const auto rate = wire::parse_with_unit(text, kRateUnits);
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

std::string format_date(std::chrono::system_clock::time_point time) {
    const std::time_t seconds = std::chrono::system_clock::to_time_t(time);
    std::tm local{};
    ::localtime_r(&seconds, &local);
    std::array<char, 32> text{};
    const std::size_t length = std::strftime(text.data(), text.size(), "%Y-%m-%d %H:%M:%S", &local);
    return std::string(text.data(), length);
}

std::string format_count(std::uint64_t count) {
    std::string digits = std::to_string(count);
    for (std::size_t place = digits.size(); place > 3; place -= 3) {
        digits.insert(place - 3, 1, ',');
    }
    return digits;
}

}  // namespace telpher::cli
