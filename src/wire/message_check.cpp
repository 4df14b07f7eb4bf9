#include "src/wire/message_check.hpp"

#include "src/wire/json_check.hpp"
#include "src/wire/names.hpp"

#include <array>
#include <string>

namespace telpher::wire {

namespace {

using detail::Violation;
using Rule = Violation::Rule;

enum class Form : std::uint8_t { any_bytes, name, mimetype, charset };

struct FieldRule {
    std::string_view name;  // as in fields(), so that people find the same word everywhere
    std::size_t min;
    std::size_t max;
    Form form;
};

// By CheckedField. Lengths in bytes, durations in milliseconds.
constexpr std::array kRules{
    FieldRule{"topic", 1, limits::kNameBytesMax, Form::name},
    FieldRule{"request-id", 1, limits::kRequestIdBytesMax, Form::any_bytes},
    FieldRule{"reply-to-queue-name", 1, limits::kNameBytesMax, Form::name},
    FieldRule{"queue-name", 1, limits::kNameBytesMax, Form::name},
    FieldRule{"correlation-id", 1, limits::kCorrelationIdBytesMax, Form::any_bytes},
    FieldRule{"causation-id", 1, limits::kCausationIdBytesMax, Form::any_bytes},
    FieldRule{"traceparent", 1, limits::kTraceparentBytesMax, Form::name},
    FieldRule{"payload-mimetype", 1, limits::kMimetypeBytesMax, Form::mimetype},
    FieldRule{"payload-charset", 1, limits::kCharsetBytesMax, Form::charset},
    FieldRule{"payload", 0, limits::kMessageBytesMaxHighest, Form::any_bytes},
    FieldRule{"expires-in", limits::kExpiresInMin.count(), limits::kExpiresInMax.count(), {}},
    FieldRule{"timeout", 0, limits::kTimeoutMax.count(), {}},
    FieldRule{"delay", 0, limits::kDelayMax.count(), {}},
};
static_assert(kRules.size() == static_cast<std::size_t>(CheckedField::delay) + 1);

const FieldRule& rule_of(CheckedField field) noexcept {
    return kRules[static_cast<std::size_t>(field)];
}

Violation violation(CheckedField field, Rule rule, std::int64_t value) noexcept {
    Violation made;
    made.rule = rule;
    made.field = static_cast<std::uint8_t>(field);
    made.value = value;
    return made;
}

Violation check_length(CheckedField field, std::size_t bytes) noexcept {
    const FieldRule& rule = rule_of(field);
    if (bytes >= rule.min && bytes <= rule.max) {
        return {};
    }
    return violation(field,
                     bytes < rule.min ? Rule::too_short : Rule::too_long,
                     static_cast<std::int64_t>(bytes));
}

std::string_view allowed_bytes(Form form) noexcept {
    return form == Form::charset ? "letters, digits and -_.:+()" : "[A-Za-z0-9._/-]";
}

std::string range(const FieldRule& rule) {
    return std::to_string(rule.min) + ".." + std::to_string(rule.max);
}

}  // namespace

Violation check_text(CheckedField field, std::string_view text) noexcept {
    const Violation length = check_length(field, text.size());
    if (length.rule != Rule::none) {
        return length;
    }
    const Form form = rule_of(field).form;
    if (form == Form::mimetype) {
        return is_mimetype(text) ? Violation{} : violation(field, Rule::bad_form, 0);
    }
    std::optional<std::size_t> bad;
    if (form == Form::name) {
        bad = find_bad_name_byte(text);
    } else if (form == Form::charset) {
        bad = find_bad_charset_byte(text);
    }
    if (!bad) {
        return {};
    }
    Violation made = violation(field, Rule::bad_byte, static_cast<std::int64_t>(*bad));
    made.byte = static_cast<std::uint8_t>(text[*bad]);
    return made;
}

Violation check_payload_bytes(std::size_t bytes) noexcept {
    return check_length(CheckedField::payload, bytes);
}

Violation check_payload_json(std::string_view text) noexcept {
    const JsonFault fault = check_json(text);
    if (fault.reason == JsonFault::Reason::none) {
        return {};
    }
    Violation made =
        violation(CheckedField::payload, Rule::bad_json, static_cast<std::int64_t>(fault.position));
    made.reason = static_cast<std::uint8_t>(fault.reason);
    return made;
}

Violation check_duration(CheckedField field, std::chrono::milliseconds duration) noexcept {
    const FieldRule& rule = rule_of(field);
    const std::int64_t value = duration.count();
    const bool fits = value >= static_cast<std::int64_t>(rule.min) &&
                      value <= static_cast<std::int64_t>(rule.max);
    return fits ? Violation{} : violation(field, Rule::bad_number, value);
}

Error delay_refused(std::string_view what) {
    return {Status::bad_request,
            0,
            std::string(what) +
                " cannot be delayed: deliver_after is for offers to a queue of delivery = "
                "at_least_once"};
}

Error to_error(const Violation& violation) {
    const FieldRule& rule = rule_of(static_cast<CheckedField>(violation.field));
    const std::string value = std::to_string(violation.value);
    Error error{Status::bad_request, 0, std::string{rule.name}};
    switch (violation.rule) {
        case Rule::none:
            break;
        case Rule::too_short:
        case Rule::too_long:
            error.detail += " is " + value + " bytes, the limit is " + range(rule);
            if (violation.field == static_cast<std::uint8_t>(CheckedField::payload)) {
                error.status = Status::message_too_large;
            }
            break;
        case Rule::bad_byte:
            error.detail +=
                " has " + show_byte(violation.byte) + " at position " + value + ", allowed are ";
            error.detail += allowed_bytes(rule.form);
            break;
        case Rule::bad_form:
            error.detail += " is not of the form type/subtype in letters, digits and !#$&-^_.+";
            break;
        case Rule::bad_json:
            error.detail += " is no JSON: at position " + value + " the text ";
            error.detail += to_string(static_cast<JsonFault::Reason>(violation.reason));
            break;
        case Rule::bad_number:
            error.detail += " is " + value + " ms, the limit is " + range(rule) + " ms";
            break;
    }
    return error;
}

Error message_too_large(std::size_t message_bytes, std::size_t limit_bytes) {
    return Error{Status::message_too_large,
                 0,
                 "message is " + std::to_string(message_bytes) + " bytes, the limit is " +
                     std::to_string(limit_bytes)};
}

}  // namespace telpher::wire
