#include "src/wire/json_check.hpp"

#include "telpher/limits.hpp"

#include "src/wire/utf8.hpp"

#include <bitset>
#include <optional>

namespace telpher::wire {

namespace {

using Reason = JsonFault::Reason;

bool is_digit(char byte) noexcept { return byte >= '0' && byte <= '9'; }

// Reads one value after the other; what may come next follows from the innermost container.
class Checker {
  public:
    explicit Checker(std::string_view text) noexcept : text_(text) {}

    JsonFault run() noexcept {
        while (fault_.reason == Reason::none && !done_) {
            skip_spaces();
            value();
        }
        if (fault_.reason == Reason::none) {
            skip_spaces();
            if (at_ < text_.size()) {
                fail(Reason::text_after_end);
            }
        }
        return fault_;
    }

  private:
    [[nodiscard]] bool ended() const noexcept { return at_ >= text_.size(); }
    [[nodiscard]] bool looking_at(char byte) const noexcept {
        return !ended() && text_[at_] == byte;
    }
    bool fail(Reason reason) noexcept {
        if (fault_.reason == Reason::none) {
            fault_ = {ended() && reason != Reason::too_deep ? Reason::ends_early : reason, at_};
        }
        return false;
    }
    bool skip(char byte, Reason otherwise = Reason::unexpected_byte) noexcept {
        if (!looking_at(byte)) {
            return fail(otherwise);
        }
        ++at_;
        return true;
    }
    void skip_spaces() noexcept {
        while (!ended() && (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\n' ||
                            text_[at_] == '\r')) {
            ++at_;
        }
    }

    // A value that is no container, or the opening of a container up to its first value.
    void value() noexcept {
        if (ended()) {
            fail(Reason::ends_early);
            return;
        }
        switch (text_[at_]) {
            case '{':
                open(true);
                return;
            case '[':
                open(false);
                return;
            case '"':
                string() && after_value();
                return;
            case 't':
                literal("true") && after_value();
                return;
            case 'f':
                literal("false") && after_value();
                return;
            case 'n':
                literal("null") && after_value();
                return;
            default:
                number() && after_value();
        }
    }

    void open(bool object) noexcept {
        if (depth_ == limits::kJsonDepthMax) {
            fail(Reason::too_deep);
            return;
        }
        ++at_;
        objects_[depth_++] = object;
        skip_spaces();
        if (looking_at(object ? '}' : ']')) {
            ++at_;
            --depth_;
            after_value();
        } else if (object) {
            key();
        }
    }

    bool key() noexcept {
        skip_spaces();
        if (!looking_at('"')) {
            return fail(Reason::unexpected_byte);
        }
        if (!string()) {
            return false;
        }
        skip_spaces();
        return skip(':');
    }

    // Closes containers until one goes on with a comma, or until the outermost value has ended.
    bool after_value() noexcept {
        while (depth_ > 0) {
            skip_spaces();
            const bool object = objects_[depth_ - 1];
            if (looking_at(',')) {
                ++at_;
                return object ? key() : true;
            }
            if (!skip(object ? '}' : ']')) {
                return false;
            }
            --depth_;
        }
        done_ = true;
        return true;
    }

    bool literal(std::string_view word) noexcept {
        for (const char byte : word) {
            if (!skip(byte)) {
                return false;
            }
        }
        return true;
    }

    bool digits() noexcept {
        if (ended() || !is_digit(text_[at_])) {
            return fail(Reason::bad_number);
        }
        while (!ended() && is_digit(text_[at_])) {
            ++at_;
        }
        return true;
    }

    bool number() noexcept {
        const bool negative = looking_at('-');
        if (!negative && !is_digit(text_[at_])) {
            return fail(Reason::unexpected_byte);
        }
        at_ += negative ? 1 : 0;
        if (looking_at('0')) {
            ++at_;  // no digit may follow: what comes next is looked at by the caller
        } else if (!digits()) {
            return false;
        }
        if (looking_at('.')) {
            ++at_;
            if (!digits()) {
                return false;
            }
        }
        if (looking_at('e') || looking_at('E')) {
            ++at_;
            if (looking_at('+') || looking_at('-')) {
                ++at_;
            }
            return digits();
        }
        return true;
    }

    bool string() noexcept {
        ++at_;
        while (!ended()) {
            const char byte = text_[at_];
            if (byte == '"') {
                ++at_;
                return true;
            }
            if (byte == '\\') {
                if (!escape()) {
                    return false;
                }
                continue;
            }
            if (static_cast<std::uint8_t>(byte) < 0x20) {
                return fail(Reason::bare_control_character);
            }
            const std::size_t bytes = utf8_character_bytes(text_.substr(at_));
            if (bytes == 0) {
                return fail(Reason::not_utf8);
            }
            at_ += bytes;
        }
        return fail(Reason::ends_early);
    }

    bool escape() noexcept {
        ++at_;
        if (ended() || std::string_view{"\"\\/bfnrtu"}.find(text_[at_]) == std::string_view::npos) {
            return fail(Reason::bad_escape);
        }
        if (text_[at_++] != 'u') {
            return true;
        }
        const auto unit = hex_unit();
        if (!unit) {
            return false;
        }
        const bool low = *unit >= 0xDC00 && *unit <= 0xDFFF;
        const bool high = *unit >= 0xD800 && *unit <= 0xDBFF;
        if (low) {
            return fail(Reason::bad_escape);
        }
        if (!high) {
            return true;
        }
        if (!skip('\\', Reason::bad_escape) || !skip('u', Reason::bad_escape)) {
            return false;
        }
        const auto partner = hex_unit();
        if (!partner) {
            return false;
        }
        return (*partner >= 0xDC00 && *partner <= 0xDFFF) || fail(Reason::bad_escape);
    }

    std::optional<std::uint32_t> hex_unit() noexcept {
        std::uint32_t unit = 0;
        for (int i = 0; i < 4; ++i, ++at_) {
            const char byte = ended() ? '\0' : text_[at_];
            std::uint32_t digit = 0;
            if (is_digit(byte)) {
                digit = static_cast<std::uint32_t>(byte - '0');
            } else if ((byte >= 'a' && byte <= 'f') || (byte >= 'A' && byte <= 'F')) {
                digit = static_cast<std::uint32_t>((byte | 0x20) - 'a' + 10);
            } else {
                fail(Reason::bad_escape);
                return std::nullopt;
            }
            unit = unit * 16 + digit;
        }
        return unit;
    }

    std::string_view text_;
    std::size_t at_ = 0;
    std::bitset<limits::kJsonDepthMax> objects_{};  // by level: an object, else an array
    std::size_t depth_ = 0;
    bool done_ = false;
    JsonFault fault_{};
};

}  // namespace

JsonFault check_json(std::string_view text) noexcept { return Checker{text}.run(); }

std::string_view to_string(Reason reason) noexcept {
    switch (reason) {
        case Reason::none:
            return "is JSON";
        case Reason::ends_early:
            return "ends too early";
        case Reason::unexpected_byte:
            return "has a byte that cannot stand there";
        case Reason::bad_number:
            return "has a number with a digit missing";
        case Reason::bad_escape:
            return "has an escape that is none";
        case Reason::bare_control_character:
            return "has a control character inside a string";
        case Reason::not_utf8:
            return "is not UTF-8";
        case Reason::too_deep:
            return "has more than 128 arrays and objects inside one another";
        case Reason::text_after_end:
            return "goes on after its end";
    }
    return "is not JSON";
}

}  // namespace telpher::wire
