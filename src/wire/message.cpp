#include "telpher/message.hpp"

#include "src/wire/codec.hpp"
#include "src/wire/extension.hpp"
#include "src/wire/message_check.hpp"
#include "src/wire/names.hpp"

#include <array>
#include <cassert>
#include <cstring>

namespace telpher {

using detail::ExtensionId;
using detail::Violation;
using wire::CheckedField;

namespace {

// No field that is built here is longer; the limits are checked before.
constexpr std::size_t kEntryBytesMax = 255;
static_assert(limits::kRequestIdBytesMax <= kEntryBytesMax &&
              limits::kCorrelationIdBytesMax <= kEntryBytesMax &&
              limits::kCausationIdBytesMax <= kEntryBytesMax);

CheckedField field_of(ExtensionId id) noexcept {
    switch (id) {
        case ExtensionId::mimetype:
            return CheckedField::mimetype;
        case ExtensionId::charset:
            return CheckedField::charset;
        case ExtensionId::request_id:
            return CheckedField::request_id;
        case ExtensionId::reply_to:
            return CheckedField::reply_to;
        case ExtensionId::destination:
            return CheckedField::destination;
        case ExtensionId::correlation_id:
            return CheckedField::correlation_id;
        case ExtensionId::causation_id:
            return CheckedField::causation_id;
        case ExtensionId::traceparent:
            return CheckedField::traceparent;
        case ExtensionId::timeout_ms:
        case ExtensionId::type:
        case ExtensionId::attempt:
        case ExtensionId::no_retry:
        case ExtensionId::replayed:
        case ExtensionId::rerun:
        case ExtensionId::not_before_ms:
            break;
    }
    return CheckedField::timeout;
}

bool broken(const Violation& violation) noexcept { return violation.rule != Violation::Rule::none; }

std::string_view as_text(std::span<const std::byte> bytes) noexcept {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

Message::Message(const MessageView& view) { assign(view); }

Message& Message::assign(const MessageView& view) & {
    const detail::MessageParts& parts = view.parts();
    head_ = parts.head;
    topic_.assign(view.topic());
    payload_.assign(as_text(view.payload()));
    violation_ = {};
    extension_.assign(parts.extension, parts.head.extension_bytes);
    // Checked again as a copy: in memory that others can write, it may have changed since decode.
    if (!extension_.empty() && !wire::check_extension(head_, extension_)) {
        extension_.clear();
        head_.flags &= static_cast<std::uint8_t>(~detail::kFlagTyped);
        if (head_.content == detail::kContentExtended) {
            head_.content = detail::kContentBinary;
        }
    }
    if (!extension_.empty() && head_.timestamp_ns != 0) {
        set_extension(ExtensionId::not_before_ms, {});  // it was sent, and its delay is over
    }
    return *this;
}

// --- Constructors ---

Message Message::text(std::string_view topic, std::string_view text) {
    Message message;
    message.set_topic(topic);
    message.assign_text(text);
    return message;
}

Message Message::text_moved(std::string_view topic, std::string text) {
    Message message;
    message.set_topic(topic);
    message.head_.content = detail::kContentText;
    const Violation violation = wire::check_payload_bytes(text.size());
    if (broken(violation)) {
        message.keep(violation);
    } else {
        message.payload_ = std::move(text);
    }
    return message;
}

Message Message::text(std::string_view topic,
                      std::string_view mimetype,
                      std::string_view charset,
                      std::string_view text) {
    Message message;
    message.set_topic(topic);
    message.set_kind(mimetype, charset);
    const Violation violation = wire::check_text(CheckedField::charset, charset);
    if (broken(violation)) {
        message.keep(violation);
    }
    message.set_payload(std::as_bytes(std::span(text)));
    return message;
}

Message Message::json(std::string_view topic, std::string_view json) {
    Message message;
    message.set_topic(topic);
    message.head_.content = detail::kContentJson;
    message.set_payload(std::as_bytes(std::span(json)));
    return message;
}

Message Message::bytes(std::string_view topic,
                       std::string_view mimetype,
                       std::span<const std::byte> payload) {
    Message message;
    message.set_topic(topic);
    message.set_kind(mimetype, {});
    message.set_payload(payload);
    return message;
}

// --- Builders ---

Message& Message::with_request_id(std::string_view id) & {
    set_text_field(ExtensionId::request_id, id);
    return *this;
}

Message& Message::with_destination(std::string_view name) & {
    set_text_field(ExtensionId::destination, name);
    return *this;
}

Message& Message::with_correlation_id(std::string_view id) & {
    set_text_field(ExtensionId::correlation_id, id);
    return *this;
}

Message& Message::with_causation_id(std::string_view id) & {
    set_text_field(ExtensionId::causation_id, id);
    return *this;
}

Message& Message::with_traceparent(std::string_view traceparent) & {
    set_text_field(ExtensionId::traceparent, traceparent);
    return *this;
}

Message& Message::reply_to(std::string_view queue) & {
    set_text_field(ExtensionId::reply_to, queue);
    return *this;
}

Message& Message::expires_in(std::chrono::milliseconds lifetime) & {
    const Violation violation = wire::check_duration(CheckedField::expires_in, lifetime);
    if (broken(violation)) {
        keep(violation);
        return *this;
    }
    head_.expires_ms = static_cast<std::uint32_t>(lifetime.count());
    // The life span begins with the next send, also for a message that was sent before.
    head_.timestamp_ns = 0;
    return *this;
}

Message& Message::with_timeout(std::chrono::milliseconds timeout) & {
    const Violation violation = wire::check_duration(CheckedField::timeout, timeout);
    if (broken(violation)) {
        keep(violation);
        return *this;
    }
    const auto timeout_ms = static_cast<std::uint32_t>(timeout.count());
    std::array<char, sizeof timeout_ms> bytes{};
    std::memcpy(bytes.data(), &timeout_ms, sizeof timeout_ms);
    if (extension_.empty()) {  // every request on its way to a handler
        constexpr char kHead[wire::kEntryHeadBytes] = {
            static_cast<char>(ExtensionId::timeout_ms), sizeof timeout_ms, 0};
        extension_.assign(kHead, sizeof kHead);
        extension_.append(bytes.data(), bytes.size());
        return *this;
    }
    set_extension(ExtensionId::timeout_ms, {bytes.data(), bytes.size()});
    return *this;
}

Message& Message::without_timeout() & {
    if (!extension_.empty() && extension_[0] == static_cast<char>(ExtensionId::timeout_ms) &&
        extension_.size() == wire::kEntryHeadBytes + wire::kTimeoutEntryBytes) {
        extension_.clear();
    } else if (!extension_.empty()) {
        set_extension(ExtensionId::timeout_ms, {});
    }
    return *this;
}

Message& Message::durable(bool on) & {
    head_.flags = static_cast<std::uint8_t>(on ? head_.flags | detail::kFlagDurable
                                               : head_.flags & ~detail::kFlagDurable);
    return *this;
}

Message& Message::oneway(bool on) & {
    head_.flags = static_cast<std::uint8_t>(on ? head_.flags | detail::kFlagOneway
                                               : head_.flags & ~detail::kFlagOneway);
    return *this;
}

Message& Message::with_type(MessageType type) & {
    head_.type = type;
    return *this;
}

Message& Message::with_response_status(Status status) & {
    head_.status = status;
    return *this;
}

Message& Message::answering(const MessageView& request) & {
    for (const auto id : {ExtensionId::request_id,
                          ExtensionId::correlation_id,
                          ExtensionId::causation_id,
                          ExtensionId::traceparent}) {
        const std::string_view theirs = detail::find_extension(request.parts(), id);
        // One that breaks a limit is left out: the request came from outside, the answer must go
        // out.
        if (detail::find_extension(parts(), id).empty() && !theirs.empty() &&
            !broken(wire::check_text(field_of(id), theirs))) {
            set_extension(id, theirs);
        }
    }
    return *this;
}

// --- Payload ---

Message& Message::assign_text(std::string_view text) {
    if (head_.content == detail::kContentExtended) {
        set_extension(ExtensionId::mimetype, {});
        set_extension(ExtensionId::charset, {});
    }
    head_.content = detail::kContentText;
    return set_payload(std::as_bytes(std::span(text)));
}

Message& Message::set_payload(std::span<const std::byte> payload) {
    if (broken(violation_) &&
        violation_.field == static_cast<std::uint8_t>(CheckedField::payload)) {
        violation_ = {};  // what was wrong with the old payload went with it
    }
    const Violation violation = wire::check_payload_bytes(payload.size());
    if (broken(violation)) [[unlikely]] {
        keep(violation);
        payload_.clear();
        return *this;
    }
    payload_.assign(as_text(payload));
    if ((head_.flags & detail::kFlagTyped) != 0) [[unlikely]] {
        // A copy of a typed message: the new bytes are no longer that type.
        set_extension(ExtensionId::type, {});
        head_.flags &= static_cast<std::uint8_t>(~(detail::kFlagTyped | detail::kFlagAligned64));
    }
    if (head_.content >= detail::kContentJson) {
        check_json_payload();
    }
    return *this;
}

std::string Message::text() && {
    [[maybe_unused]] const std::string_view checked = MessageFields<Message>::text();
    return std::move(payload_);
}

std::string Message::json() && {
    [[maybe_unused]] const std::string_view checked = MessageFields<Message>::json();
    return std::move(payload_);
}

// --- Private ---

Result<void> Message::failed_check() const {
    // A message without topic and without another violation: nobody gave it one.
    return wire::to_error(broken(violation_) ? violation_
                                             : wire::check_text(CheckedField::topic, topic_));
}

void Message::keep(const Violation& violation) {
    if (!broken(violation_)) {
        violation_ = violation;
    }
}

void Message::set_topic(std::string_view topic) {
    const Violation violation = wire::check_text(CheckedField::topic, topic);
    if (broken(violation)) [[unlikely]] {
        keep(violation);
        return;
    }
    topic_.assign(topic);
}

void Message::set_kind(std::string_view mimetype, std::string_view charset) {
    if (charset.empty() && mimetype == "application/octet-stream") {
        head_.content = detail::kContentBinary;
    } else if (charset == "UTF-8" && mimetype == "text/plain") {
        head_.content = detail::kContentText;
    } else if (charset == "UTF-8" && mimetype == "application/json") {
        head_.content = detail::kContentJson;
    } else {
        const Violation violation = wire::check_text(CheckedField::mimetype, mimetype);
        if (broken(violation)) {
            keep(violation);
            return;
        }
        head_.content = detail::kContentExtended;
        set_extension(ExtensionId::mimetype, mimetype);
        set_text_field(ExtensionId::charset, charset);
    }
}

void Message::check_json_payload() {
    if (wire::is_json_kind(mimetype(), charset())) {
        const Violation violation = wire::check_payload_json(payload_);
        if (broken(violation)) {
            keep(violation);
        }
    }
}

void Message::set_text_field(ExtensionId id, std::string_view bytes) {
    if (!bytes.empty()) {
        const Violation violation = wire::check_text(field_of(id), bytes);
        if (broken(violation)) {
            keep(violation);
            return;
        }
    }
    set_extension(id, bytes);
}

void Message::set_extension(ExtensionId id, std::string_view bytes) {
    wire::ExtensionReader reader(extension_);
    std::size_t at = extension_.size();  // where the entry belongs
    std::size_t old_bytes = 0;           // what it replaces
    while (const auto entry = reader.next()) {
        if (entry->id >= id) {
            at = entry->at;
            old_bytes = entry->id == id ? reader.position() - at : 0;
            break;
        }
    }
    if (bytes.empty()) {
        extension_.erase(at, old_bytes);
        return;
    }
    // Composed first: `bytes` may be a field of this very message.
    assert(bytes.size() <= kEntryBytesMax);
    const auto length = static_cast<std::uint16_t>(bytes.size());
    std::array<char, wire::kEntryHeadBytes + kEntryBytesMax> made{static_cast<char>(id)};
    std::memcpy(made.data() + 1, &length, sizeof length);
    std::memcpy(made.data() + wire::kEntryHeadBytes, bytes.data(), bytes.size());
    extension_.replace(at, old_bytes, made.data(), wire::kEntryHeadBytes + bytes.size());
}

}  // namespace telpher
