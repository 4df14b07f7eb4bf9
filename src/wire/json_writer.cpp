#include "src/wire/json_writer.hpp"

#include "src/wire/utf8.hpp"

#include <algorithm>
#include <utility>

namespace telpher::wire {

void JsonWriter::begin(std::string_view name) {
    if (!first_) {
        text_ += ',';
    }
    first_ = false;
    if (pretty_) {
        text_ += "\n    ";
    }
    quoted(name);
    text_ += pretty_ ? ": " : ":";
}

void JsonWriter::null(std::string_view name) {
    begin(name);
    text_ += "null";
}

void JsonWriter::boolean(std::string_view name, bool value) {
    begin(name);
    text_ += value ? "true" : "false";
}

void JsonWriter::number(std::string_view name, std::uint64_t value) {
    begin(name);
    text_ += std::to_string(value);
}

void JsonWriter::string(std::string_view name, std::string_view value) {
    begin(name);
    quoted(value);
}

void JsonWriter::base64(std::string_view name, std::span<const std::byte> value) {
    constexpr std::string_view kDigits =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    begin(name);
    text_.reserve(text_.size() + value.size() / 3 * 4 + 8);
    text_ += '"';
    for (std::size_t at = 0; at < value.size(); at += 3) {
        const std::size_t bytes = std::min<std::size_t>(3, value.size() - at);
        std::uint32_t group = 0;
        for (std::size_t i = 0; i < 3; ++i) {
            group = (group << 8U) | (i < bytes ? std::to_integer<std::uint32_t>(value[at + i]) : 0);
        }
        for (std::size_t i = 0; i < 4; ++i) {
            text_ += i <= bytes ? kDigits[(group >> (18 - 6 * i)) & 63U] : '=';
        }
    }
    text_ += '"';
}

void JsonWriter::quoted(std::string_view value) {
    text_ += '"';
    while (!value.empty()) {
        const auto byte = static_cast<std::uint8_t>(value.front());
        std::size_t bytes = utf8_character_bytes(value);
        if (bytes == 0) {
            text_ += "\xEF\xBF\xBD";
            bytes = 1;
        } else if (byte < 0x20 || byte == 0x7F || byte == '"' || byte == '\\') {
            escaped(byte);
        } else {
            text_ += value.substr(0, bytes);
        }
        value.remove_prefix(bytes);
    }
    text_ += '"';
}

void JsonWriter::escaped(std::uint8_t byte) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    text_ += '\\';
    switch (byte) {
        case '"':
        case '\\':
            text_ += static_cast<char>(byte);
            break;
        case '\n':
            text_ += 'n';
            break;
        case '\r':
            text_ += 'r';
            break;
        case '\t':
            text_ += 't';
            break;
        default:
            text_ += "u00";
            text_ += kDigits[byte >> 4U];
            text_ += kDigits[byte & 15U];
    }
}

std::string JsonWriter::finish() && {
    text_ += pretty_ && !first_ ? "\n}" : "}";
    return std::move(text_);
}

}  // namespace telpher::wire
