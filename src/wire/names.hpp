// Which bytes names and other short texts of a message may have.
//
// All checks are pure functions; a Result<void> is built without allocation when the text is good,
// and names field, limit and value when it is not.
#pragma once

#include "telpher/result.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace telpher::wire {

// A byte in single quotes if it can be shown, else as "byte 0x0A".
[[nodiscard]] std::string show_byte(std::uint8_t byte);

// The position of the first byte outside [A-Za-z0-9._/-]; nothing if there is none.
[[nodiscard]] std::optional<std::size_t> find_bad_name_byte(std::string_view text) noexcept;
// The same for the bytes of a charset's name: letters, digits and "-_.:+()".
[[nodiscard]] std::optional<std::size_t> find_bad_charset_byte(std::string_view text) noexcept;
// "type/subtype", both of the characters that RFC 6838 allows and neither empty.
[[nodiscard]] bool is_mimetype(std::string_view text) noexcept;
// ASCII letters compare equal in both cases, as in mimetypes and charsets.
[[nodiscard]] bool equal_ignoring_case(std::string_view left, std::string_view right) noexcept;

// Whether text in this charset is UTF-8: "UTF-8", or "US-ASCII", which is a part of it.
[[nodiscard]] bool is_utf8_charset(std::string_view charset) noexcept;
// Whether the payload is JSON text: application/json, in UTF-8 or without a charset of its own.
[[nodiscard]] bool is_json_kind(std::string_view mimetype, std::string_view charset) noexcept;

// A name of a queue, function, topic or domain: 1..100 bytes of [A-Za-z0-9._/-].
//   what   how the error calls it: "queue name", "topic"
[[nodiscard]] Result<void> check_name(std::string_view what, std::string_view name);

// What a subscription may ask for: a name of '.'-separated levels in which a level may be `*` (any
// one level) and the last one `>` (one or more further levels).
[[nodiscard]] Result<void> check_topic_pattern(std::string_view pattern);
// Whether it has a `*` or `>`: if not, it is a plain topic.
[[nodiscard]] bool is_wildcard(std::string_view pattern) noexcept;
// Whether `topic` is one of those that `pattern` (checked before) asks for.
[[nodiscard]] bool topic_matches(std::string_view pattern, std::string_view topic) noexcept;

}  // namespace telpher::wire
