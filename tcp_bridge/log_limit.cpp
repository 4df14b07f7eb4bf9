#include "tcp_bridge/log_limit.hpp"

namespace telpher::bridge {
namespace {

constexpr std::size_t kTextBytesMax = 500;
constexpr std::array<std::string_view, kLogKinds> kKindTexts{
    "connections refused", "broken protocols", "silent peers", "shortages", "events"};

}  // namespace

bool LogLimit::admit(LogKind kind, Clock::time_point now) {
    Window& window = windows_[static_cast<std::size_t>(kind)];
    if (kind == LogKind::life) {
        return true;
    }
    // One that left lines out begins anew when that was told.
    if (window.left_out == 0 && now - window.began >= kWindow) {
        window = {now, 0, 0};
    }
    if (window.written == kLinesPerSecond) {
        ++window.left_out;
        return false;
    }
    ++window.written;
    return true;
}

std::string LogLimit::left_out(Clock::time_point now) {
    for (std::size_t kind = 0; kind < kLogKinds; ++kind) {
        Window& window = windows_[kind];
        if (window.left_out > 0 && now - window.began >= kWindow) {
            std::string line = "not logged: " + std::to_string(window.left_out) + " more " +
                               std::string(kKindTexts[kind]);
            window = {now, 0, 0};
            return line;
        }
    }
    return {};
}

std::string log_text(std::string_view line) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    std::string text;
    for (const char letter : line.substr(0, kTextBytesMax)) {
        const auto byte = static_cast<unsigned char>(letter);
        if (byte >= 0x20 && byte < 0x7F) {
            text += letter;
        } else {
            text += "\\x";
            text += kDigits[byte >> 4U];
            text += kDigits[byte & 0xFU];
        }
    }
    return line.size() > kTextBytesMax ? text + "..." : text;
}

}  // namespace telpher::bridge
