// A message as names and values: fields(), field(), to_json().
#include "telpher/message_view.hpp"

#include "src/wire/json_writer.hpp"
#include "src/wire/names.hpp"

#include <algorithm>
#include <array>

namespace telpher {

namespace {

std::uint64_t milliseconds_since_epoch(TimePoint time) noexcept {
    return static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::milliseconds>(time.time_since_epoch()).count());
}

FieldValue text_or_nothing(std::string_view text) noexcept {
    return text.empty() ? FieldValue{} : FieldValue{text};
}

std::string_view payload_text(const MessageView& message) noexcept {
    const auto payload = message.payload();
    return {reinterpret_cast<const char*>(payload.data()), payload.size()};
}

FieldValue expires_at(const MessageView& message) noexcept {
    const auto at = message.expires_at();
    return at ? FieldValue{milliseconds_since_epoch(*at)} : FieldValue{};
}

FieldValue timeout(const MessageView& message) noexcept {
    const auto timeout = message.timeout();
    return timeout ? FieldValue{static_cast<std::uint64_t>(timeout->count())} : FieldValue{};
}

struct Accessor {
    std::string_view name;
    FieldValue (*value)(const MessageView& message) noexcept;
};

constexpr std::string_view kPayloadText = "payload-text";
constexpr std::string_view kPayloadBinary = "payload-binary";

using View = const MessageView&;

// In the order in which fields() and to_json() show them.
constexpr std::array kAccessors{
    Accessor{"id", [](View m) noexcept { return FieldValue{m.id()}; }},
    Accessor{"type", [](View m) noexcept { return FieldValue{to_string(m.type())}; }},
    Accessor{"oneway?", [](View m) noexcept { return FieldValue{m.is_oneway()}; }},
    Accessor{"durable?", [](View m) noexcept { return FieldValue{m.is_durable()}; }},
    Accessor{"response-status",
             [](View m) noexcept { return FieldValue{to_string(m.response_status())}; }},
    Accessor{"timestamp",
             [](View m) noexcept {
                 return m.timestamp_ms() == 0 ? FieldValue{} : FieldValue{m.timestamp_ms()};
             }},
    Accessor{"expires-at", expires_at},
    Accessor{"timeout", timeout},
    Accessor{"request-id", [](View m) noexcept { return text_or_nothing(m.request_id()); }},
    Accessor{"topic", [](View m) noexcept { return FieldValue{m.topic()}; }},
    Accessor{"queue-name", [](View m) noexcept { return text_or_nothing(m.destination()); }},
    Accessor{"reply-to-queue-name", [](View m) noexcept { return text_or_nothing(m.reply_to()); }},
    Accessor{"correlation-id", [](View m) noexcept { return text_or_nothing(m.correlation_id()); }},
    Accessor{"causation-id", [](View m) noexcept { return text_or_nothing(m.causation_id()); }},
    Accessor{"traceparent", [](View m) noexcept { return text_or_nothing(m.traceparent()); }},
    Accessor{"payload-mimetype", [](View m) noexcept { return FieldValue{m.mimetype()}; }},
    Accessor{"payload-charset", [](View m) noexcept { return text_or_nothing(m.charset()); }},
    Accessor{
        kPayloadText,
        [](View m) noexcept { return m.is_text() ? FieldValue{payload_text(m)} : FieldValue{}; }},
    Accessor{kPayloadBinary, [](View m) noexcept { return FieldValue{m.payload()}; }},
};

// Writes one member; what is no text in UTF-8 already was sorted out by the caller.
struct MemberWriter {
    wire::JsonWriter& json;
    std::string_view name;

    void operator()(std::monostate /*nothing*/) const { json.null(name); }
    void operator()(bool value) const { json.boolean(name, value); }
    void operator()(std::uint64_t value) const { json.number(name, value); }
    void operator()(MessageId value) const { json.string(name, to_string(value)); }
    void operator()(std::string_view value) const { json.string(name, value); }
    void operator()(std::span<const std::byte> value) const { json.base64(name, value); }
};

struct ValueText {
    std::string operator()(std::monostate /*nothing*/) const { return "null"; }
    std::string operator()(bool value) const { return value ? "true" : "false"; }
    std::string operator()(std::uint64_t value) const { return std::to_string(value); }
    std::string operator()(MessageId value) const { return to_string(value); }
    std::string operator()(std::string_view value) const { return std::string{value}; }
    std::string operator()(std::span<const std::byte> value) const {
        std::string text{"["};
        for (const std::byte byte : value) {
            text += text.size() > 1 ? " " : "";
            text += std::to_string(std::to_integer<int>(byte));
        }
        return text + "]";
    }
};

}  // namespace

std::string to_string(const FieldValue& value) { return std::visit(ValueText{}, value); }

namespace detail {

std::vector<Field> fields_of(const MessageParts& parts) {
    const MessageView message{parts};
    std::vector<Field> fields;
    fields.reserve(kAccessors.size());
    for (const Accessor& accessor : kAccessors) {
        fields.push_back({accessor.name, accessor.value(message)});
    }
    return fields;
}

Result<FieldValue> field_of(const MessageParts& parts, std::string_view name) {
    const auto found = std::ranges::find(kAccessors, name, &Accessor::name);
    if (found == kAccessors.end()) {
        return Error{Status::bad_request,
                     0,
                     "a message has no field '" + std::string{name} + "'; fields() has all names"};
    }
    if (name == kPayloadText) {
        const auto text = text_of(parts);
        return text ? Result<FieldValue>{FieldValue{*text}} : Result<FieldValue>{text.error()};
    }
    return found->value(MessageView{parts});
}

std::string to_json(const MessageParts& parts, bool pretty) {
    const MessageView message{parts};
    // A text in another charset cannot stand in JSON as it is: its bytes are shown instead.
    const bool as_text = wire::is_utf8_charset(message.charset());
    wire::JsonWriter json{pretty};
    for (const Accessor& accessor : kAccessors) {
        if (accessor.name != (as_text ? kPayloadBinary : kPayloadText)) {
            std::visit(MemberWriter{json, accessor.name}, accessor.value(message));
        }
    }
    return std::move(json).finish();
}

}  // namespace detail
}  // namespace telpher
