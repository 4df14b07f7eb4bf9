// Writes one JSON object into a string; what it writes is valid JSON whatever texts it is given.
//
//   Texts    bytes that are not UTF-8 become U+FFFD, control characters become escapes
//   Pretty   one member per line, four spaces; otherwise no space at all
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace telpher::wire {

class JsonWriter {
  public:
    explicit JsonWriter(bool pretty) : pretty_(pretty) { text_ += '{'; }

    void null(std::string_view name);
    void boolean(std::string_view name, bool value);
    void number(std::string_view name, std::uint64_t value);
    void string(std::string_view name, std::string_view value);
    void base64(std::string_view name, std::span<const std::byte> value);

    // Ends the object and hands it out; the writer is used up.
    [[nodiscard]] std::string finish() &&;

  private:
    void begin(std::string_view name);
    void quoted(std::string_view value);
    void escaped(std::uint8_t byte);

    std::string text_;
    bool pretty_;
    bool first_ = true;
};

}  // namespace telpher::wire
