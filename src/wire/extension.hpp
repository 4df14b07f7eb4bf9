// The rare fields of a message: entries {u8 id, u16 length, bytes} in front of the topic.
//
// The bytes may lie in memory that others can change at any time, so the reader checks every step
// against the end, also when the extension was found valid before.
#pragma once

#include "telpher/message_view.hpp"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string_view>

namespace telpher::wire {

inline constexpr std::size_t kEntryHeadBytes = 3;
inline constexpr std::size_t kTimeoutEntryBytes = 4;    // u32, milliseconds
inline constexpr std::size_t kTypeEntryBytes = 12;      // u64 id, u32 sizeof
inline constexpr std::size_t kAttemptEntryBytes = 4;    // u32
inline constexpr std::size_t kMarkEntryBytes = 1;       // 1: no_retry, replayed, rerun
inline constexpr std::size_t kNotBeforeEntryBytes = 4;  // u32, milliseconds

struct ExtensionEntry {
    detail::ExtensionId id{};
    std::string_view bytes{};
    std::size_t at = 0;  // where the entry begins in the extension
};

// Walks the entries in order; stops at the end or at the first entry that does not fit.
class ExtensionReader {
  public:
    explicit ExtensionReader(std::string_view extension) noexcept : extension_(extension) {}

    [[nodiscard]] std::optional<ExtensionEntry> next() noexcept {
        if (extension_.size() - at_ < kEntryHeadBytes) {
            return std::nullopt;
        }
        const char* head = extension_.data() + at_;
        std::uint16_t length = 0;
        std::memcpy(&length, head + 1, sizeof length);
        // Not read again: others may change it between the check and the use.
        __asm__("" : "+r"(length));
        if (extension_.size() - at_ - kEntryHeadBytes < length) {
            return std::nullopt;
        }
        const ExtensionEntry entry{
            static_cast<detail::ExtensionId>(*head), {head + kEntryHeadBytes, length}, at_};
        at_ += kEntryHeadBytes + length;
        return entry;
    }

    // How far it came: the whole extension unless an entry did not fit.
    [[nodiscard]] std::size_t position() const noexcept { return at_; }

  private:
    std::string_view extension_;
    std::size_t at_ = 0;
};

// Whether an extension keeps its rules and goes with the rest of the header; one text per rule.
//   errors  corrupt
[[nodiscard]] Result<void> check_extension(const detail::MessageHead& head,
                                           std::string_view extension);

}  // namespace telpher::wire
