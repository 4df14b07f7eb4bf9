// Encoded messages, byte by byte, as shm/FORMAT.md gives them: made from the format's text by
// another program, not by the codec that they test.
#pragma once

#include "src/wire/codec.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace telpher::wire::golden {

inline constexpr Stamp kStamp{
    {0x0123456789ABCDEFU, 42}, 1'700'000'000'000'000'000U, MessageType::offer};

inline constexpr std::string_view kText =
    "0b00000005000101efcdab89674523012a0000000000000000002a36fe9c9717"
    "00000000050000006f726465720000003220657370726573736f73";

inline constexpr std::string_view kJson =
    "1300000005000102efcdab89674523012a0000000000000000002a36fe9c9717"
    "00000000050000006f726465720000007b226974656d223a2265737072657373"
    "6f227d";

inline constexpr std::string_view kEmpty =
    "0000000005000100efcdab89674523012a0000000000000000002a36fe9c9717"
    "00000000010000007400000000000000";

// Every extension entry that a client can set, both flags, a life span and an own mimetype.
inline constexpr std::string_view kFull =
    "02000000050301ffefcdab89674523012a0000000000000000002a36fe9c9717"
    "8813000005007e00010900746578742f68746d6c020a0049534f2d383835392d"
    "310302003137040700616e73776572730506006f7264657273060300632d3107"
    "03006b2d3208370030302d306166373635313931366364343364643834343865"
    "62323131633830333139632d623761643662373136393230333333312d303109"
    "0400dc0500006f7264657200000000006869";

// A typed loan whose payload starts on a cache line of the chunk.
inline constexpr std::string_view kTyped =
    "04000000050c0100efcdab89674523012a0000000000000000002a36fe9c9717"
    "0000000006000f000a0c008877665544332211040000006672616d6573000000"
    "0000000000000000000000000000000000000000000000000000000000000000"
    "0000000000000000000000000000000007000000";

inline constexpr std::array kAll{kText, kJson, kEmpty, kFull, kTyped};

inline Message full() {
    using namespace std::chrono_literals;
    return Message::text("order", "text/html", "ISO-8859-1", "hi")
        .with_request_id("17")
        .reply_to("answers")
        .with_destination("orders")
        .with_correlation_id("c-1")
        .with_causation_id("k-2")
        .with_traceparent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
        .with_timeout(1500ms)
        .expires_in(5s)
        .durable()
        .oneway();
}

inline std::vector<std::byte> from_hex(std::string_view hex) {
    const auto digit = [](char c) { return c <= '9' ? c - '0' : c - 'a' + 10; };
    std::vector<std::byte> bytes(hex.size() / 2);
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        bytes[i] = static_cast<std::byte>(digit(hex[2 * i]) * 16 + digit(hex[2 * i + 1]));
    }
    return bytes;
}

inline std::string to_hex(std::span<const std::byte> bytes) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    std::string hex;
    for (const std::byte byte : bytes) {
        hex += kDigits[std::to_integer<std::size_t>(byte) >> 4U];
        hex += kDigits[std::to_integer<std::size_t>(byte) & 15U];
    }
    return hex;
}

// Exactly as long as the message and on a multiple of 8, so that a sanitizer sees every byte beyond
// it.
inline std::vector<std::byte> encoded(const Message& message, const Stamp& stamp = kStamp) {
    // Not zero, so that padding that nobody writes shows.
    std::vector<std::byte> bytes(encoded_bytes(message), std::byte{0xEE});
    encode(message, stamp, bytes);
    return bytes;
}

}  // namespace telpher::wire::golden
