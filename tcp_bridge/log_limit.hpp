#pragma once
// Keeps a flood out of a log: of each kind of line at most so many a second, then how many more there were.
//
//   Memory   a counter for each kind
//   Threads  one at a time

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace telpher::bridge {

// What a line is about.
enum class LogKind : std::uint8_t {
    refused,   // who was not let in
    broken,    // who broke the protocol, or its encryption
    silent,    // who said nothing for too long
    resource,  // what the bridge itself has run out of
    life,      // of the bridge: few lines, never left out
};
inline constexpr std::size_t kLogKinds = 5;

class LogLimit {
  public:
    using Clock = std::chrono::steady_clock;
    static constexpr std::uint32_t kLinesPerSecond = 10;
    static constexpr auto kWindow = std::chrono::seconds(1);

    // Whether the line is to be written. If not, it is counted.
    [[nodiscard]] bool admit(LogKind kind, Clock::time_point now);
    // The line that tells what was left out of a second that is over; empty: nothing was. Asked until it is.
    [[nodiscard]] std::string left_out(Clock::time_point now);

  private:
    struct Window {
        Clock::time_point began{};
        std::uint32_t written = 0;
        std::uint64_t left_out = 0;
    };
    std::array<Window, kLogKinds> windows_{};
};

// One line of printable ASCII: other bytes as \xHH, at most 500 of them. What peers said must not be able to look
// like another line, or to steer a terminal.
[[nodiscard]] std::string log_text(std::string_view line);

}  // namespace telpher::bridge
