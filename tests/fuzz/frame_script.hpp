#pragma once
// Frames out of a fuzzer's bytes: as a hostile peer would choose them, often enough nearly right to get somewhere.
//
//   frame := type u8 | how u8 | channel u8 | argument u8 | bytes u8 | body
//   how      bits 0-2 the frame's flags; bits 3-4 which body: as it is, a message with it as payload, a destination's
//            name, a pattern (a COMMAND's is always one); bits 5-7 which correlation: the next one, the one before, 0,
//            1, 2, ...

#include "telpher/message.hpp"

#include "src/wire/codec.hpp"
#include "tcp_bridge/bodies.hpp"
#include "tcp_bridge/commands.hpp"
#include "tcp_bridge/frame.hpp"
#include "tcp_bridge/frame_reader.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

namespace telpher::fuzz {

inline bridge::Bytes encoded_message(std::string_view payload, std::string_view topic = "t") {
    const Message message = Message::text(topic, std::string(payload));
    bridge::Bytes bytes(wire::encoded_bytes(message));
    wire::encode(message, {MessageId{1, 2}, 3, MessageType::offer}, bytes);
    return bytes;
}

class FrameScript {
  public:
    explicit FrameScript(std::span<const std::byte> bytes) : left_(bytes) {}

    // The next frame, with a body of its own; nothing: the bytes are used up. `last` is the highest correlation so far.
    [[nodiscard]] std::optional<bridge::FrameHead> next(std::uint64_t last, bridge::Bytes& body) {
        if (left_.size() < 5) {
            return std::nullopt;
        }
        const auto how = number(1);
        bridge::FrameHead head;
        head.type = static_cast<bridge::FrameType>(number(0));
        head.flags = static_cast<std::uint8_t>(how & 7U);
        head.channel = static_cast<std::uint16_t>(number(2) & 7U);
        constexpr std::array<std::uint64_t, 8> kArguments{
            0, 1, 2, 100, 1'000'000, 3'600'000'000'000, ~0ULL >> 1U, ~0ULL};
        head.argument = kArguments[number(3) & 7U];
        const std::size_t bytes = std::min<std::size_t>(number(4), left_.size() - 5);
        const std::string text(reinterpret_cast<const char*>(left_.data()) + 5, bytes);
        left_ = left_.subspan(5 + bytes);
        const auto which = how >> 5U;
        head.correlation = which == 0 ? last + 1 : which == 1 ? last : which - 2;
        body = body_of((how >> 3U) & 3U, text);
        if (head.type == bridge::FrameType::command && !text.empty()) {
            body = command_of(text);
        }
        head.length = static_cast<std::uint32_t>(body.size());
        return head;
    }

  private:
    [[nodiscard]] std::size_t number(std::size_t at) const {
        return std::to_integer<std::size_t>(left_[at]);
    }
    // Its first byte tells which, the others are its arguments.
    static bridge::Bytes command_of(const std::string& text) {
        namespace commands = bridge::commands;
        constexpr std::array kCommands{commands::kCreateQueue,
                                       commands::kRemoveQueue,
                                       commands::kCreateTopic,
                                       commands::kRemoveTopic,
                                       commands::kQueues,
                                       commands::kTopics,
                                       commands::kQueueStatus,
                                       commands::kTopicStatus,
                                       commands::kFunctionStatus,
                                       commands::kStatus,
                                       commands::kExists,
                                       commands::kPurge,
                                       commands::kPeek,
                                       commands::kTemporaryQueue};
        const auto which = static_cast<unsigned char>(text[0]) % kCommands.size();
        return encoded_message(std::string_view(text).substr(1), kCommands[which]);
    }
    static bridge::Bytes body_of(std::size_t which, const std::string& text) {
        constexpr std::array<const char*, 4> kNames{"q", "t", "f", ""};
        const std::size_t pick = text.empty() ? 0 : static_cast<unsigned char>(text[0]);
        switch (which) {
            case 0: {
                const auto bytes = std::as_bytes(std::span(text));
                return {bytes.begin(), bytes.end()};
            }
            case 1:
                return encoded_message(text);
            case 2:
                return encode(
                    bridge::Open{static_cast<bridge::Kind>(pick % 3), kNames[(pick / 3) % 4]});
            default:
                return encode(bridge::Subscribe{.patterns = {pick % 2 == 0 ? "t" : ">"}});
        }
    }
    std::span<const std::byte> left_;
};

}  // namespace telpher::fuzz
