#include "src/wire/names.hpp"

#include "telpher/limits.hpp"

#include <algorithm>
#include <array>
#include <string>

namespace telpher::wire {

namespace {

constexpr std::string_view kAlphanumeric =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

using ByteSet = std::array<bool, 256>;

constexpr ByteSet alphanumeric_and(std::string_view others) {
    ByteSet set{};
    for (const std::string_view bytes : {kAlphanumeric, others}) {
        for (const char byte : bytes) {
            set[static_cast<std::uint8_t>(byte)] = true;
        }
    }
    return set;
}

constexpr ByteSet kNameBytes = alphanumeric_and("._/-");
constexpr ByteSet kCharsetBytes = alphanumeric_and("-_.:+()");
constexpr ByteSet kMimetypeBytes = alphanumeric_and("!#$&-^_.+");

std::optional<std::size_t> find_outside(const ByteSet& set, std::string_view text) noexcept {
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (!set[static_cast<std::uint8_t>(text[i])]) {
            return i;
        }
    }
    return std::nullopt;
}

char lower(char byte) noexcept {
    return byte >= 'A' && byte <= 'Z' ? static_cast<char>(byte - 'A' + 'a') : byte;
}

// The text before the first '.', which is cut off `rest` together with it.
std::string_view take_level(std::string_view& rest) noexcept {
    const std::string_view level = rest.substr(0, rest.find('.'));
    rest.remove_prefix(std::min(rest.size(), level.size() + 1));
    return level;
}

Error length_error(std::string_view what, std::size_t bytes) {
    return Error{Status::bad_request,
                 0,
                 std::string{what} + " is " + std::to_string(bytes) + " bytes, the limit is 1.." +
                     std::to_string(limits::kNameBytesMax)};
}

Error byte_error(std::string_view what, std::string_view text, std::size_t at) {
    return Error{Status::bad_request,
                 0,
                 std::string{what} + " has " + show_byte(static_cast<std::uint8_t>(text[at])) +
                     " at position " + std::to_string(at) + ", allowed are [A-Za-z0-9._/-]"};
}

}  // namespace

std::string show_byte(std::uint8_t byte) {
    if (byte > 0x20 && byte < 0x7F) {
        return {'\'', static_cast<char>(byte), '\''};
    }
    constexpr std::string_view kDigits = "0123456789ABCDEF";
    return std::string{"byte 0x"} + kDigits[byte >> 4U] + kDigits[byte & 15U];
}

std::optional<std::size_t> find_bad_name_byte(std::string_view text) noexcept {
    return find_outside(kNameBytes, text);
}

std::optional<std::size_t> find_bad_charset_byte(std::string_view text) noexcept {
    return find_outside(kCharsetBytes, text);
}

bool is_mimetype(std::string_view text) noexcept {
    const std::size_t slash = text.find('/');
    return slash != std::string_view::npos && slash > 0 && slash + 1 < text.size() &&
           !find_outside(kMimetypeBytes, text.substr(0, slash)) &&
           !find_outside(kMimetypeBytes, text.substr(slash + 1));
}

bool equal_ignoring_case(std::string_view left, std::string_view right) noexcept {
    return std::ranges::equal(left, right, {}, lower, lower);
}

bool is_utf8_charset(std::string_view charset) noexcept {
    return equal_ignoring_case(charset, "UTF-8") || equal_ignoring_case(charset, "US-ASCII");
}

bool is_json_kind(std::string_view mimetype, std::string_view charset) noexcept {
    return equal_ignoring_case(mimetype, "application/json") &&
           (charset.empty() || is_utf8_charset(charset));
}

Result<void> check_name(std::string_view what, std::string_view name) {
    if (name.empty() || name.size() > limits::kNameBytesMax) {
        return length_error(what, name.size());
    }
    if (const auto at = find_bad_name_byte(name)) {
        return byte_error(what, name, *at);
    }
    return {};
}

bool is_wildcard(std::string_view pattern) noexcept {
    return pattern.find_first_of("*>") != std::string_view::npos;
}

Result<void> check_topic_pattern(std::string_view pattern) {
    constexpr std::string_view kWhat = "topic pattern";
    if (pattern.empty() || pattern.size() > limits::kNameBytesMax) {
        return length_error(kWhat, pattern.size());
    }
    std::string_view rest = pattern;
    while (!rest.empty()) {
        const auto at = static_cast<std::size_t>(rest.data() - pattern.data());
        const std::string_view level = take_level(rest);
        const bool last = at + level.size() == pattern.size();
        if (level == "*" || (level == ">" && last)) {
            continue;
        }
        if (is_wildcard(level)) {
            return Error{Status::bad_request,
                         0,
                         "topic pattern has '" + std::string{level} + "' at position " +
                             std::to_string(at) +
                             "; '*' must be a whole level, and '>' the whole last one"};
        }
        if (const auto bad = find_bad_name_byte(level)) {
            return byte_error(kWhat, pattern, at + *bad);
        }
    }
    return {};
}

bool topic_matches(std::string_view pattern, std::string_view topic) noexcept {
    for (;;) {
        const bool pattern_goes_on = pattern.find('.') != std::string_view::npos;
        const bool topic_goes_on = topic.find('.') != std::string_view::npos;
        const std::string_view wanted = take_level(pattern);
        const std::string_view level = take_level(topic);
        if (wanted == ">" && !pattern_goes_on) {
            return true;
        }
        if (wanted != "*" && wanted != level) {
            return false;
        }
        if (!pattern_goes_on || !topic_goes_on) {
            return pattern_goes_on == topic_goes_on;
        }
    }
}

}  // namespace telpher::wire
