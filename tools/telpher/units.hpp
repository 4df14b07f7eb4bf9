// Durations, sizes and rates as people write them: a number and a unit, never a bare number.
//
//   300ms 2s 1.5s 5m 1h    durations (ns us ms s m h); "0" alone needs no unit
//   1KB 20MiB 512B         sizes; KB and KiB are both 1024 bytes
//   500/s 0.5/s 60/m       rates
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace telpher::cli {

// Nothing for a text that is no duration, is negative, or does not fit 64 bits of nanoseconds.
[[nodiscard]] std::optional<std::chrono::nanoseconds> parse_duration(std::string_view text);

// Nothing for a text that is no size or does not fit 63 bits.
[[nodiscard]] std::optional<std::uint64_t> parse_size(std::string_view text);

// Messages per second, above 0; nothing for any other text.
[[nodiscard]] std::optional<double> parse_rate(std::string_view text);

// "850 ns", "12.3 us", "4.56 ms", "1.20 s", "3m 20s", "2h 5m", "3d 4h"
[[nodiscard]] std::string format_duration(std::chrono::nanoseconds duration);

// "512 B", "1.5 KiB", "24 MiB"
[[nodiscard]] std::string format_size(std::uint64_t bytes);

// "2026-11-22 20:48:55", local time
[[nodiscard]] std::string format_date(std::chrono::system_clock::time_point time);

// "1,234,567"
[[nodiscard]] std::string format_count(std::uint64_t count);

}  // namespace telpher::cli
