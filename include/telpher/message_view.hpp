// A message read in place, and the accessors that views and owning messages share.
//
//   MessageFields  every accessor, written once for MessageView and Message
//   MessageView    a copyable look at encoded bytes: the validated header by value, pointers to the
//                  rest
//
// A view is valid as long as the bytes it was decoded from: a polled message until its Delivery
// ends.
#pragma once

#include "telpher/result.hpp"
#include "telpher/status.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <variant>
#include <vector>

namespace telpher {

using TimePoint = std::chrono::system_clock::time_point;

// The numbers travel on the wire: append only.
enum class MessageType : std::uint8_t {
    null = 0,  // not sent yet
    request = 1,
    publish = 2,
    subscribe = 3,
    unsubscribe = 4,
    offer = 5,
    poll = 6,
    response = 7,
};

// "REQUEST", "PUBLISH", ...
[[nodiscard]] std::string_view to_string(MessageType type) noexcept;

// Unique per send: a prefix that is unique per client, and the client's counter.
struct MessageId {
    std::uint64_t prefix = 0;
    std::uint64_t counter = 0;

    bool operator==(const MessageId&) const = default;
};

// "baac8cf8-48fd-4e16-a1cc-b3867bd4e505": the prefix, then the counter, most significant digit
// first.
[[nodiscard]] std::string to_string(MessageId id);

// What a typed loan holds: a number derived from the type's name, and its sizeof.
struct TypeTag {
    std::uint64_t id = 0;
    std::uint32_t size = 0;

    bool operator==(const TypeTag&) const = default;
};

// The value of one field: nothing, true/false, a number, an id, a text or the raw payload.
using FieldValue = std::variant<std::monostate,
                                bool,
                                std::uint64_t,
                                MessageId,
                                std::string_view,
                                std::span<const std::byte>>;

struct Field {
    std::string_view name;
    FieldValue value;  // refers into the message
};

// "null", "true", "1763313279378", "baac8cf8-...", the text itself, "[72 101 108]".
[[nodiscard]] std::string to_string(const FieldValue& value);

class Message;
class MessageView;

namespace wire {
bool decode_in_place(std::span<const std::byte> bytes, MessageView& view) noexcept;
}

namespace detail {

// The first 40 bytes of an encoded message, in the order and form they have there (shm/FORMAT.md).
struct MessageHead {
    std::uint32_t payload_bytes = 0;
    MessageType type = MessageType::null;
    std::uint8_t flags = 0;
    Status status = Status::none;
    std::uint8_t content = 0;
    MessageId id{};
    std::uint64_t timestamp_ns = 0;
    std::uint32_t expires_ms = 0;  // after the timestamp; 0 = never
    std::uint16_t topic_bytes = 0;
    std::uint16_t extension_bytes = 0;
};
static_assert(sizeof(MessageHead) == 40 && std::is_trivially_copyable_v<MessageHead>);

inline constexpr std::uint8_t kFlagOneway = 1;
inline constexpr std::uint8_t kFlagDurable = 2;
inline constexpr std::uint8_t kFlagAligned64 = 4;
inline constexpr std::uint8_t kFlagTyped = 8;
inline constexpr std::uint8_t kFlagsKnown = 15;

inline constexpr std::uint8_t kContentBinary = 0;      // application/octet-stream, no charset
inline constexpr std::uint8_t kContentText = 1;        // text/plain, UTF-8
inline constexpr std::uint8_t kContentJson = 2;        // application/json, UTF-8
inline constexpr std::uint8_t kContentExtended = 255;  // mimetype and charset lie in the extension

// Ids of extension entries {u8 id, u16 length, bytes}; append only. 13 to 20 are reserved
// (FORMAT.md).
enum class ExtensionId : std::uint8_t {
    mimetype = 1,
    charset = 2,
    request_id = 3,
    reply_to = 4,
    destination = 5,
    correlation_id = 6,
    causation_id = 7,
    traceparent = 8,
    timeout_ms = 9,
    type = 10,
    attempt = 11,
    no_retry = 12,
    not_before_ms = 15,
    replayed = 21,
    rerun = 22,
};

// Where the pieces of a message are: what every accessor reads. One cache line.
struct MessageParts {
    MessageHead head{};
    const char* topic = nullptr;         // head.topic_bytes
    const char* extension = nullptr;     // head.extension_bytes
    const std::byte* payload = nullptr;  // head.payload_bytes
};

// `timestamp_ns` + `later_ms` on the system clock; what lies beyond its range is its last instant,
// so that no number from outside overflows.
[[nodiscard]] inline TimePoint time_point(std::uint64_t timestamp_ns,
                                          std::uint32_t later_ms) noexcept {
    constexpr auto kLast = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
    const std::uint64_t later_ns = std::uint64_t{later_ms} * 1'000'000;
    const std::uint64_t since_epoch_ns =
        timestamp_ns > kLast - later_ns ? kLast : timestamp_ns + later_ns;
    return TimePoint{std::chrono::duration_cast<TimePoint::duration>(
        std::chrono::nanoseconds{static_cast<std::int64_t>(since_epoch_ns)})};
}

// The accessors that are more than a load; on parts, so that they exist once.
[[nodiscard]] std::string_view find_extension(const MessageParts& parts, ExtensionId id) noexcept;
[[nodiscard]] std::string_view mimetype_of(const MessageParts& parts) noexcept;
[[nodiscard]] std::string_view charset_of(const MessageParts& parts) noexcept;
[[nodiscard]] std::optional<std::chrono::milliseconds> timeout_of(
    const MessageParts& parts) noexcept;
[[nodiscard]] std::uint32_t attempt_of(const MessageParts& parts) noexcept;
[[nodiscard]] std::optional<std::chrono::milliseconds> delay_of(const MessageParts& parts) noexcept;
[[nodiscard]] std::optional<TypeTag> type_tag_of(const MessageParts& parts) noexcept;
[[nodiscard]] std::size_t size_bytes_of(const MessageParts& parts) noexcept;
[[nodiscard]] Result<std::string_view> text_of(const MessageParts& parts);
[[nodiscard]] Result<std::string_view> json_of(const MessageParts& parts);
[[nodiscard]] std::optional<Error> error_of(const MessageParts& parts);
[[nodiscard]] std::vector<Field> fields_of(const MessageParts& parts);
[[nodiscard]] Result<FieldValue> field_of(const MessageParts& parts, std::string_view name);
[[nodiscard]] std::string to_json(const MessageParts& parts, bool pretty);

}  // namespace detail

// Every accessor of a message. All are const, none changes or waits; views they return live as long
// as the message (Message) or the bytes (MessageView). An absent text field is an empty text.
template <class Self>
class MessageFields {
  public:
    // --- Set by the runtime when the message is sent ---
    [[nodiscard]] MessageId id() const noexcept { return head().id; }
    [[nodiscard]] MessageType type() const noexcept { return head().type; }
    // Status::none until the message is a response.
    [[nodiscard]] Status response_status() const noexcept { return head().status; }
    // When the message was sent; the epoch (0) before that.
    [[nodiscard]] TimePoint timestamp() const noexcept {
        return detail::time_point(head().timestamp_ns, 0);
    }
    [[nodiscard]] std::uint64_t timestamp_ms() const noexcept {
        return head().timestamp_ns / 1'000'000;
    }

    // --- Set by whoever builds the message ---
    [[nodiscard]] bool is_oneway() const noexcept {
        return (head().flags & detail::kFlagOneway) != 0;
    }
    [[nodiscard]] bool is_durable() const noexcept {
        return (head().flags & detail::kFlagDurable) != 0;
    }
    // The life span given to expires_in; nothing = for ever.
    [[nodiscard]] std::optional<std::chrono::milliseconds> lifetime() const noexcept {
        const auto expires_ms = head().expires_ms;
        return expires_ms == 0 ? std::nullopt
                               : std::optional{std::chrono::milliseconds{expires_ms}};
    }
    // Timestamp + lifetime, on the wall clock; nothing = never, or not sent yet.
    [[nodiscard]] std::optional<TimePoint> expires_at() const noexcept {
        const auto& now_head = head();
        if (now_head.expires_ms == 0 || now_head.timestamp_ns == 0) {
            return std::nullopt;
        }
        return detail::time_point(now_head.timestamp_ns, now_head.expires_ms);
    }
    [[nodiscard]] bool expired(TimePoint now) const noexcept {
        const auto at = expires_at();
        return at.has_value() && *at <= now;
    }
    // What was left of the call's time when it was sent; nothing = no call.
    [[nodiscard]] std::optional<std::chrono::milliseconds> timeout() const noexcept {
        return detail::timeout_of(parts());
    }
    // How long after its offer it is handed out at the earliest; nothing = at once. Not among fields(), and
    // not in a copy of a message that was received: passed on, it is not delayed again.
    [[nodiscard]] std::optional<std::chrono::milliseconds> delay() const noexcept {
        return parts().head.extension_bytes == 0 ? std::nullopt : detail::delay_of(parts());
    }
    // Which attempt of its caller a request is: 1, 2, ... Neither this nor the next is among fields().
    [[nodiscard]] std::uint32_t attempt() const noexcept { return detail::attempt_of(parts()); }
    // Whether somebody further up retries: what a handler calls for it is not retried (retry.hpp).
    [[nodiscard]] bool no_retry() const noexcept {
        return !extension(detail::ExtensionId::no_retry).empty();
    }
    // Of a response: the first one to this request id, again (idempotency.hpp).
    [[nodiscard]] bool replayed() const noexcept {
        return !extension(detail::ExtensionId::replayed).empty();
    }
    // Of a request in its handler: it had begun before, and nobody knows how that ended (idempotency.hpp).
    [[nodiscard]] bool rerun() const noexcept {
        return !extension(detail::ExtensionId::rerun).empty();
    }
    [[nodiscard]] std::string_view topic() const noexcept {
        const auto& pieces = parts();
        return {pieces.topic, pieces.head.topic_bytes};
    }
    [[nodiscard]] std::string_view request_id() const noexcept {
        return extension(detail::ExtensionId::request_id);
    }
    // The queue, topic or function that the message is for, where that is not evident from the
    // path.
    [[nodiscard]] std::string_view destination() const noexcept {
        return extension(detail::ExtensionId::destination);
    }
    // The queue that wants the reply.
    [[nodiscard]] std::string_view reply_to() const noexcept {
        return extension(detail::ExtensionId::reply_to);
    }
    [[nodiscard]] std::string_view correlation_id() const noexcept {
        return extension(detail::ExtensionId::correlation_id);
    }
    [[nodiscard]] std::string_view causation_id() const noexcept {
        return extension(detail::ExtensionId::causation_id);
    }
    [[nodiscard]] std::string_view traceparent() const noexcept {
        return extension(detail::ExtensionId::traceparent);
    }

    // --- Payload ---
    [[nodiscard]] std::string_view mimetype() const noexcept {
        return detail::mimetype_of(parts());
    }
    // Empty = binary.
    [[nodiscard]] std::string_view charset() const noexcept { return detail::charset_of(parts()); }
    [[nodiscard]] bool is_text() const noexcept { return !charset().empty(); }
    [[nodiscard]] std::span<const std::byte> payload() const noexcept {
        const auto& pieces = parts();
        return {pieces.payload, pieces.head.payload_bytes};
    }
    // The payload of a text message; throws BadResult (mismatch) if it is binary.
    [[nodiscard]] std::string_view text() const { return try_text().value(); }
    // The same as a result: `mismatch` if the payload is binary.
    [[nodiscard]] Result<std::string_view> try_text() const { return detail::text_of(parts()); }
    // The JSON text of an application/json message; throws BadResult (mismatch) if it is another
    // mimetype.
    [[nodiscard]] std::string_view json() const { return try_json().value(); }
    [[nodiscard]] Result<std::string_view> try_json() const { return detail::json_of(parts()); }
    // What a typed loan holds; nothing for other messages.
    [[nodiscard]] std::optional<TypeTag> type_tag() const noexcept {
        return detail::type_tag_of(parts());
    }
    // The encoded message: header, texts and payload. This is what message size limits count.
    [[nodiscard]] std::size_t size_bytes() const noexcept { return detail::size_bytes_of(parts()); }

    // --- Response ---
    // True for a response that says ok; false for errors and for messages that are no response.
    [[nodiscard]] bool ok() const noexcept { return response_status() == Status::ok; }
    // The status and text of a response that says something else; nothing for any other message.
    [[nodiscard]] std::optional<Error> error() const { return detail::error_of(parts()); }

    // --- The message as names and values ---
    // Every field: id type oneway? durable? response-status timestamp expires-at timeout request-id
    // topic queue-name reply-to-queue-name correlation-id causation-id traceparent payload-mimetype
    // payload-charset payload-text payload-binary. Absent fields are there, without a value.
    [[nodiscard]] std::vector<Field> fields() const { return detail::fields_of(parts()); }
    // One of them. Errors: bad_request (no such name), mismatch (payload-text of a binary payload).
    [[nodiscard]] Result<FieldValue> field(std::string_view name) const {
        return detail::field_of(parts(), name);
    }
    // An object with all fields, valid JSON whatever the message holds: bytes that are not UTF-8
    // become U+FFFD, a payload that is no UTF-8 text stands in "payload-binary" as base64.
    [[nodiscard]] std::string to_json(bool pretty = false) const {
        return detail::to_json(parts(), pretty);
    }

  private:
    [[nodiscard]] decltype(auto) parts() const noexcept {
        return static_cast<const Self*>(this)->parts();
    }
    [[nodiscard]] decltype(auto) head() const noexcept {
        return static_cast<const Self*>(this)->head();
    }
    [[nodiscard]] std::string_view extension(detail::ExtensionId id) const noexcept {
        return detail::find_extension(parts(), id);
    }
};

// A look at an encoded message. The header was copied and checked once and is never read again, so
// a writer that misbehaves can change what the texts say, but never how far they reach.
class MessageView : public MessageFields<MessageView> {
  public:
    // An empty message: no topic, no payload.
    MessageView() noexcept = default;
    // For the codec and for Message; `parts` must refer to readable memory.
    explicit MessageView(const detail::MessageParts& parts) noexcept : parts_(parts) {}

    // An owning copy: id, timestamp and all fields as they are.
    [[nodiscard]] Message to_message() const;

    [[nodiscard]] const detail::MessageParts& parts() const noexcept { return parts_; }
    [[nodiscard]] const detail::MessageHead& head() const noexcept { return parts_.head; }

  private:
    friend bool wire::decode_in_place(std::span<const std::byte> bytes, MessageView& view) noexcept;

    detail::MessageParts parts_{};
};
static_assert(std::is_trivially_copyable_v<MessageView> && sizeof(MessageView) == 64);

}  // namespace telpher

template <>
struct std::hash<telpher::MessageId> {
    [[nodiscard]] std::size_t operator()(const telpher::MessageId& id) const noexcept {
        // The counter alone is dense; the odd multiplier (2^64 / golden ratio) spreads it over all
        // bits.
        return static_cast<std::size_t>(id.prefix ^ (id.counter * 0x9E3779B97F4A7C15U));
    }
};
