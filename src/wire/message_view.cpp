#include "telpher/message_view.hpp"

#include "telpher/message.hpp"

#include "src/wire/codec.hpp"
#include "src/wire/extension.hpp"
#include "src/wire/names.hpp"

#include <array>
#include <cstring>

namespace telpher {

std::string_view to_string(MessageType type) noexcept {
    constexpr std::array<std::string_view, 8> kNames{
        "NULL", "REQUEST", "PUBLISH", "SUBSCRIBE", "UNSUBSCRIBE", "OFFER", "POLL", "RESPONSE"};
    const auto index = static_cast<std::size_t>(type);
    return index < kNames.size() ? kNames[index] : "UNKNOWN";
}

std::string to_string(MessageId id) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    std::string text;
    text.reserve(36);
    for (unsigned i = 0; i < 32; ++i) {
        if (i == 8 || i == 12 || i == 16 || i == 20) {
            text += '-';
        }
        const std::uint64_t half = i < 16 ? id.prefix : id.counter;
        text += kDigits[(half >> (60 - 4 * (i % 16))) & 15U];
    }
    return text;
}

Message MessageView::to_message() const { return Message{*this}; }

namespace detail {

namespace {

std::string_view view_payload_text(const MessageParts& parts) noexcept {
    return {reinterpret_cast<const char*>(parts.payload), parts.head.payload_bytes};
}

}  // namespace

std::string_view find_extension(const MessageParts& parts, ExtensionId id) noexcept {
    if (parts.head.extension_bytes == 0) {
        return {};
    }
    wire::ExtensionReader reader({parts.extension, parts.head.extension_bytes});
    while (const auto entry = reader.next()) {
        if (entry->id == id) {
            return entry->bytes;
        }
    }
    return {};
}

std::string_view mimetype_of(const MessageParts& parts) noexcept {
    switch (parts.head.content) {
        case kContentBinary:
            return "application/octet-stream";
        case kContentText:
            return "text/plain";
        case kContentJson:
            return "application/json";
        default:
            return find_extension(parts, ExtensionId::mimetype);
    }
}

std::string_view charset_of(const MessageParts& parts) noexcept {
    switch (parts.head.content) {
        case kContentBinary:
            return {};
        case kContentText:
        case kContentJson:
            return "UTF-8";
        default:
            return find_extension(parts, ExtensionId::charset);
    }
}

std::optional<std::chrono::milliseconds> timeout_of(const MessageParts& parts) noexcept {
    const std::string_view bytes = find_extension(parts, ExtensionId::timeout_ms);
    if (bytes.size() != wire::kTimeoutEntryBytes) {
        return std::nullopt;
    }
    std::uint32_t timeout_ms = 0;
    std::memcpy(&timeout_ms, bytes.data(), sizeof timeout_ms);
    return std::chrono::milliseconds{timeout_ms};
}

std::uint32_t attempt_of(const MessageParts& parts) noexcept {
    const std::string_view bytes = find_extension(parts, ExtensionId::attempt);
    std::uint32_t attempt = 1;
    if (bytes.size() == wire::kAttemptEntryBytes) {
        std::memcpy(&attempt, bytes.data(), sizeof attempt);
    }
    return attempt;
}

std::optional<TypeTag> type_tag_of(const MessageParts& parts) noexcept {
    if ((parts.head.flags & kFlagTyped) == 0) {
        return std::nullopt;
    }
    const std::string_view bytes = find_extension(parts, ExtensionId::type);
    if (bytes.size() != wire::kTypeEntryBytes) {
        return std::nullopt;
    }
    TypeTag tag;
    std::memcpy(&tag.id, bytes.data(), sizeof tag.id);
    std::memcpy(&tag.size, bytes.data() + sizeof tag.id, sizeof tag.size);
    return tag;
}

std::size_t size_bytes_of(const MessageParts& parts) noexcept {
    return wire::payload_offset(parts.head) + parts.head.payload_bytes;
}

Result<std::string_view> text_of(const MessageParts& parts) {
    if (charset_of(parts).empty()) {
        return Error{Status::mismatch,
                     0,
                     "the payload is binary (" + std::string{mimetype_of(parts)} +
                         " without a charset), not a text"};
    }
    return view_payload_text(parts);
}

Result<std::string_view> json_of(const MessageParts& parts) {
    const std::string_view charset = charset_of(parts);
    if (!wire::is_json_kind(mimetype_of(parts), charset)) {
        return Error{Status::mismatch,
                     0,
                     "the payload is " + std::string{mimetype_of(parts)} +
                         (charset.empty() ? "" : " in " + std::string{charset}) +
                         ", not application/json in UTF-8"};
    }
    return view_payload_text(parts);
}

std::optional<Error> error_of(const MessageParts& parts) {
    if (parts.head.status == Status::ok || parts.head.status == Status::none) {
        return std::nullopt;
    }
    Error error{parts.head.status, 0, {}};
    if (wire::is_utf8_charset(charset_of(parts))) {
        error.detail = view_payload_text(parts);
    }
    return error;
}

}  // namespace detail
}  // namespace telpher
