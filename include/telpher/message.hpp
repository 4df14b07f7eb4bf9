// An owning message: what a program builds, sends and keeps.
//
//   Build    Message::text("order", "2 espressos").with_request_id("17").expires_in(5s)
//   Read     the accessors of MessageFields (message_view.hpp)
//   Limits   checked while building; the first violation is kept, and whoever is asked to send the
//            message answers with it: nothing is truncated, nothing throws
//   Threads  like any value: one thread at a time, unless all only read
//
// A Message may be sent any number of times; each send gives it a new id and timestamp on the way.
#pragma once

#include "telpher/limits.hpp"
#include "telpher/message_view.hpp"
#include "telpher/result.hpp"

#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace telpher {

namespace detail {

// The first limit that a message violates; becomes a text only when somebody asks (no allocation).
struct Violation {
    enum class Rule : std::uint8_t {
        none,
        too_short,
        too_long,
        bad_byte,
        bad_form,
        bad_json,
        bad_number
    };

    Rule rule = Rule::none;
    std::uint8_t field = 0;   // index into the field names of message_check.cpp
    std::uint8_t byte = 0;    // bad_byte: the byte
    std::uint8_t reason = 0;  // bad_json: a JsonFault::Reason
    std::uint32_t limit = 0;
    std::int64_t value = 0;  // the length, the number, or the position of the byte
};

}  // namespace detail

class Message : public MessageFields<Message> {
  public:
    // An empty message without topic: check() refuses it; a place to assign to.
    // Not defaulted: `Message()` would write zeros over all of it first.
    Message() noexcept {}  // NOLINT(modernize-use-equals-default)
    // An owning copy of a message read in place.
    explicit Message(const MessageView& view);

    // --- Constructors ---
    // A text in UTF-8 of mimetype text/plain. `topic` is the label, 1..100 bytes of
    // [A-Za-z0-9._/-].
    [[nodiscard]] static Message text(std::string_view topic, std::string_view text);
    template <std::same_as<std::string> S>  // an rvalue string is moved, not copied
    [[nodiscard]] static Message text(std::string_view topic, S&& text) {
        return text_moved(topic, std::move(text));
    }
    // A text of any mimetype ("type/subtype") and charset. Text of application/json in UTF-8 is
    // checked.
    [[nodiscard]] static Message text(std::string_view topic,
                                      std::string_view mimetype,
                                      std::string_view charset,
                                      std::string_view text);
    // A JSON text (RFC 8259) of mimetype application/json, checked: form, UTF-8, at most 128
    // levels.
    [[nodiscard]] static Message json(std::string_view topic, std::string_view json);
    // Any bytes.
    [[nodiscard]] static Message bytes(std::string_view topic,
                                       std::string_view mimetype,
                                       std::span<const std::byte> payload);

    // --- Builders: each returns this message; on a temporary, the message moved out of it ---
    // An empty text removes the field again.
    Message& with_request_id(std::string_view id) &;
    Message& with_destination(std::string_view name) &;
    Message& with_correlation_id(std::string_view id) &;
    Message& with_causation_id(std::string_view id) &;
    Message& with_traceparent(std::string_view traceparent) &;
    // The queue that wants the reply.
    Message& reply_to(std::string_view queue) &;
    // The message is worth nothing this long after it was sent: 1 ms to 49 days.
    Message& expires_in(std::chrono::milliseconds lifetime) &;
    // Handed out so long after each offer of it, not before: 0 ms (at once) to 49 days. For offers to queues of
    // delivery = at_least_once; whatever else is asked to send it answers bad_request.
    Message& deliver_after(std::chrono::milliseconds delay) &;
    // What is left of the call's time: 0 ms to 49 days. Set by the runtime on every call.
    Message& with_timeout(std::chrono::milliseconds timeout) &;
    Message& without_timeout() &;
    // Which attempt it is (1: the first), and whether its caller retries. Set by the runtime on calls that
    // are retried.
    Message& with_attempt(std::uint32_t attempt) &;
    Message& with_no_retry(bool on = true) &;
    // Set by the runtime: a response that was sent before, a request that had begun before.
    Message& with_replayed(bool on = true) &;
    Message& with_rerun(bool on = true) &;
    // Confirmed only when it is on disk. For durable queues: any other one refuses it (bad_request). A loan is never
    // durable.
    Message& durable(bool on = true) &;
    // No response is wanted.
    Message& oneway(bool on = true) &;
    // For the runtime: what a caller sets here is overwritten when the message is sent.
    Message& with_type(MessageType type) &;
    Message& with_response_status(Status status) &;
    // Takes over request, correlation and causation id and traceparent of `request`, each where
    // this message has none of its own.
    Message& answering(const MessageView& request) &;

    [[nodiscard]] Message with_request_id(std::string_view id) && {
        return std::move(with_request_id(id));
    }
    [[nodiscard]] Message with_destination(std::string_view name) && {
        return std::move(with_destination(name));
    }
    [[nodiscard]] Message with_correlation_id(std::string_view id) && {
        return std::move(with_correlation_id(id));
    }
    [[nodiscard]] Message with_causation_id(std::string_view id) && {
        return std::move(with_causation_id(id));
    }
    [[nodiscard]] Message with_traceparent(std::string_view traceparent) && {
        return std::move(with_traceparent(traceparent));
    }
    [[nodiscard]] Message reply_to(std::string_view queue) && { return std::move(reply_to(queue)); }
    [[nodiscard]] Message expires_in(std::chrono::milliseconds lifetime) && {
        return std::move(expires_in(lifetime));
    }
    [[nodiscard]] Message deliver_after(std::chrono::milliseconds delay) && {
        return std::move(deliver_after(delay));
    }
    [[nodiscard]] Message with_timeout(std::chrono::milliseconds timeout) && {
        return std::move(with_timeout(timeout));
    }
    [[nodiscard]] Message durable(bool on = true) && { return std::move(durable(on)); }
    [[nodiscard]] Message oneway(bool on = true) && { return std::move(oneway(on)); }
    [[nodiscard]] Message with_type(MessageType type) && { return std::move(with_type(type)); }
    [[nodiscard]] Message with_response_status(Status status) && {
        return std::move(with_response_status(status));
    }
    [[nodiscard]] Message answering(const MessageView& request) && {
        return std::move(answering(request));
    }

    // --- Use again without allocating: the memory of the old payload is kept ---
    // Becomes an owning copy of a message read in place.
    Message& assign(const MessageView& view) &;
    // The payload becomes a text/plain UTF-8 text.
    Message& assign_text(std::string_view text);
    // Mimetype and charset stay; the payload of a JSON message is checked again.
    Message& set_payload(std::span<const std::byte> payload);

    // Whether the message keeps all limits and may be sent; one compare when it does.
    //   errors  bad_request or message_too_large, naming field, limit and value
    [[nodiscard]] Result<void> check() const {
        return violation_.rule == detail::Violation::Rule::none && !topic_.empty() ? Result<void>{}
                                                                                   : failed_check();
    }

    using MessageFields<Message>::reply_to;  // the accessor beside the builder
    [[nodiscard]] std::string_view text() const& { return MessageFields<Message>::text(); }
    [[nodiscard]] std::string_view json() const& { return MessageFields<Message>::json(); }
    // From a temporary, a string that outlives it.
    [[nodiscard]] std::string text() &&;
    [[nodiscard]] std::string json() &&;

    // A look at this message; valid until it is changed, moved or destroyed.
    [[nodiscard]] MessageView view() const noexcept { return MessageView{parts()}; }

    [[nodiscard]] detail::MessageParts parts() const noexcept {
        detail::MessageParts parts{head_, topic_.data(), extension_.data(), nullptr};
        parts.head.topic_bytes = static_cast<std::uint16_t>(topic_.size());
        parts.head.extension_bytes = static_cast<std::uint16_t>(extension_.size());
        parts.head.payload_bytes = static_cast<std::uint32_t>(payload_.size());
        parts.payload = reinterpret_cast<const std::byte*>(payload_.data());
        return parts;
    }
    // The lengths in it are not kept; parts() has them.
    [[nodiscard]] const detail::MessageHead& head() const noexcept { return head_; }

  private:
    [[nodiscard]] static Message text_moved(std::string_view topic, std::string text);
    [[nodiscard]] Result<void> failed_check() const;

    void set_topic(std::string_view topic);
    void set_kind(std::string_view mimetype, std::string_view charset);
    void check_json_payload();
    // Puts one extension entry at its place in the order of ids; an empty `bytes` removes it.
    void set_extension(detail::ExtensionId id, std::string_view bytes);
    // The same after the checks of a text field; keeps a violation instead if one fails.
    void set_text_field(detail::ExtensionId id, std::string_view bytes);
    void keep(const detail::Violation& violation);

    detail::MessageHead head_{};
    std::string topic_{};
    std::string extension_{};  // already encoded: sending copies it as it is
    std::string payload_{};
    detail::Violation violation_{};
};

}  // namespace telpher
