#include "tcp_bridge/frame.hpp"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <string>
#include <utility>

namespace telpher::bridge {
namespace {

constexpr std::pair<FrameType, std::string_view> kNames[] = {
    {FrameType::hello, "HELLO"},
    {FrameType::welcome, "WELCOME"},
    {FrameType::refused, "REFUSED"},
    {FrameType::heartbeat, "HEARTBEAT"},
    {FrameType::goodbye, "GOODBYE"},
    {FrameType::ack, "ACK"},
    {FrameType::open, "OPEN"},
    {FrameType::close, "CLOSE"},
    {FrameType::result, "RESULT"},
    {FrameType::cancel, "CANCEL"},
    {FrameType::offer, "OFFER"},
    {FrameType::poll, "POLL"},
    {FrameType::delivery, "DELIVERY"},
    {FrameType::confirm, "CONFIRM"},
    {FrameType::put_back, "PUT_BACK"},
    {FrameType::watch, "WATCH"},
    {FrameType::lease, "LEASE"},
    {FrameType::gap, "GAP"},
    {FrameType::publish, "PUBLISH"},
    {FrameType::subscribe, "SUBSCRIBE"},
    {FrameType::sample, "SAMPLE"},
    {FrameType::credit, "CREDIT"},
    {FrameType::unsubscribe, "UNSUBSCRIBE"},
    {FrameType::end, "END"},
    {FrameType::call, "CALL"},
    {FrameType::response, "RESPONSE"},
    {FrameType::command, "COMMAND"},
};

}  // namespace

std::string_view to_string(FrameType type) noexcept {
    const auto* const found =
        std::find_if(std::begin(kNames), std::end(kNames), [type](const auto& entry) {
            return entry.first == type;
        });
    return found == std::end(kNames) ? "unknown" : found->second;
}

bool is_known(FrameType type) noexcept {
    return std::any_of(std::begin(kNames), std::end(kNames), [type](const auto& entry) {
        return entry.first == type;
    });
}

bool carries_message(FrameType type) noexcept {
    switch (type) {
        case FrameType::offer:
        case FrameType::delivery:
        case FrameType::publish:
        case FrameType::sample:
        case FrameType::call:
        case FrameType::response:
        case FrameType::command:
            return true;
        default:
            return false;
    }
}

Result<FrameHead> decode_head(std::span<const std::byte> bytes, std::size_t body_bytes_max) {
    FrameHead head;
    std::memcpy(&head, bytes.data(), sizeof head);
    if (head.length > body_bytes_max) {
        return Error{Status::bad_request,
                     0,
                     "a frame's length is " + std::to_string(head.length) + ", at most " +
                         std::to_string(body_bytes_max) + " is allowed here"};
    }
    const auto type = static_cast<std::uint8_t>(head.type);
    if (!is_known(head.type) && (type & kTypeOptional) == 0) {
        return Error{Status::bad_request,
                     0,
                     "a frame's type is " + std::to_string(type) + ", which is none"};
    }
    const int flags = head.type == FrameType::delivery ? kFlagsKnown : kFlagsKnown & ~kFlagLeased;
    if (is_known(head.type) && (head.flags & ~flags) != 0) {
        return Error{Status::bad_request,
                     0,
                     "the flags of " + std::string(to_string(head.type)) + " are " +
                         std::to_string(head.flags) + ", known are " + std::to_string(flags)};
    }
    return head;
}

}  // namespace telpher::bridge
