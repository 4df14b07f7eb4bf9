// A message that is to be handed out later.

#include "src/wire/extension.hpp"
#include "src/wire/message_check.hpp"

#include <array>
#include <cstring>

namespace telpher {

Message& Message::deliver_after(std::chrono::milliseconds delay) & {
    const detail::Violation violation = wire::check_duration(wire::CheckedField::delay, delay);
    if (violation.rule != detail::Violation::Rule::none) {
        keep(violation);
        return *this;
    }
    const auto delay_ms = static_cast<std::uint32_t>(delay.count());
    std::array<char, wire::kNotBeforeEntryBytes> bytes{};
    std::memcpy(bytes.data(), &delay_ms, sizeof delay_ms);
    set_extension(
        detail::ExtensionId::not_before_ms,
        delay_ms != 0 ? std::string_view(bytes.data(), bytes.size()) : std::string_view());
    return *this;
}

namespace detail {

std::optional<std::chrono::milliseconds> delay_of(const MessageParts& parts) noexcept {
    const std::string_view bytes = find_extension(parts, ExtensionId::not_before_ms);
    std::uint32_t delay_ms = 0;
    if (bytes.size() != wire::kNotBeforeEntryBytes) {
        return std::nullopt;
    }
    std::memcpy(&delay_ms, bytes.data(), sizeof delay_ms);
    return std::chrono::milliseconds{delay_ms};
}

}  // namespace detail
}  // namespace telpher
